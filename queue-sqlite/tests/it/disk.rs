//! A disk in memory that loses power: an SQLite VFS.
//!
//! What was written since a file was last synced is not on the platter yet. When the power goes, each such write is
//! there, is not, or is torn: of its sectors some are new, some old, some garbage; in any combination and order.
//! Names of files are there at once. Writes are by one thread after another (the storage's reader only opens the file),
//! so the shared index of the log needs no locks.

use std::collections::HashMap;
use std::io::{Error, ErrorKind, Result};
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use fastrand::Rng;
use sqlite_vfs::wip::{WalIndex, WalIndexLock};
use sqlite_vfs::{DatabaseHandle, LockKind, OpenAccess, OpenOptions, Vfs};

/// The name the VFS is registered under.
pub(crate) const VFS: &str = "powerless";
const SECTOR: usize = 512;
type Region = [u8; 32_768];

/// The disk behind the VFS: one in this process, as a VFS can't be unregistered. Whoever uses it holds the lock.
#[derive(Default)]
pub(crate) struct Disk {
    files: HashMap<String, File>,
    regions: HashMap<(String, u32), Box<Region>>,
    /// Which handle holds which lock on which file.
    locks: HashMap<u64, (String, LockKind)>,
    handles: u64,
    /// Writes and syncs until the power goes; `None` for never.
    left: Option<u64>,
    done: u64,
}

#[derive(Default)]
struct File {
    /// What a program reads.
    seen: Vec<u8>,
    /// What is on the platter, and what was done since.
    platter: Vec<u8>,
    unsynced: Vec<Change>,
}

enum Change {
    Write(usize, Vec<u8>),
    Length(usize),
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Length(length) => bytes.resize(*length, 0),
            Self::Write(at, data) => {
                bytes.resize(bytes.len().max(at + data.len()), 0);
                bytes[*at..at + data.len()].copy_from_slice(data);
            }
        }
    }

    /// What is left of it when the power went before it was synced.
    fn survive(&self, bytes: &mut Vec<u8>, random: &mut Rng) {
        match (self, random.u8(0..10)) {
            (_, 0..4) => self.apply(bytes),
            (Self::Write(at, data), 7..) => {
                bytes.resize(bytes.len().max(at + data.len()), 0);
                for (piece, data) in data.chunks(SECTOR).enumerate() {
                    let at = at + piece * SECTOR;
                    match random.u8(0..10) {
                        0..5 => bytes[at..at + data.len()].copy_from_slice(data),
                        5 => bytes[at..at + data.len()].iter_mut().for_each(|byte| *byte = random.u8(..)),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
}

impl Disk {
    /// An empty disk whose power goes after `left` writes and syncs.
    pub(crate) fn start(left: Option<u64>) {
        *disk() = Self { left, ..Self::default() };
    }

    /// Writes and syncs so far.
    pub(crate) fn done() -> u64 {
        disk().done
    }

    /// Copies what a crash leaves of every file into a folder.
    pub(crate) fn crash_into(folder: &Path, seed: u64) {
        let mut random = Rng::with_seed(seed);
        let disk = disk();
        let mut names: Vec<_> = disk.files.keys().collect();
        names.sort();
        for name in names {
            let file = &disk.files[name];
            let mut bytes = file.platter.clone();
            file.unsynced.iter().for_each(|change| change.survive(&mut bytes, &mut random));
            std::fs::write(folder.join(name), bytes).unwrap();
        }
    }

    fn power(&mut self) -> Result<()> {
        if self.left.is_some_and(|left| self.done >= left) {
            return Err(Error::other("the power is gone"));
        }
        self.done += 1;
        Ok(())
    }

    fn file(&mut self, name: &str) -> Result<&mut File> {
        self.files.get_mut(name).ok_or_else(|| ErrorKind::NotFound.into())
    }
}

/// The disk, registered with SQLite when it is first asked for.
fn disk() -> MutexGuard<'static, Disk> {
    static DISK: OnceLock<Arc<Mutex<Disk>>> = OnceLock::new();
    let disk = DISK.get_or_init(|| {
        sqlite_vfs::register(VFS, Powerless, false).unwrap();
        Arc::default()
    });
    disk.lock().unwrap()
}

struct Powerless;

struct Handle {
    name: String,
    number: u64,
}

impl Drop for Handle {
    fn drop(&mut self) {
        disk().locks.remove(&self.number);
    }
}

struct Index(String);

impl Vfs for Powerless {
    type Handle = Handle;

    fn open(&self, name: &str, opts: OpenOptions) -> Result<Handle> {
        let mut disk = disk();
        let creates = matches!(opts.access, OpenAccess::Create | OpenAccess::CreateNew);
        if !disk.files.contains_key(name) {
            if !creates {
                return Err(ErrorKind::NotFound.into());
            }
            disk.power()?;
            disk.files.insert(name.to_owned(), File::default());
        }
        disk.handles += 1;
        Ok(Handle { name: name.to_owned(), number: disk.handles })
    }

    fn delete(&self, name: &str) -> Result<()> {
        let mut disk = disk();
        disk.power()?;
        disk.files.remove(name);
        Ok(())
    }

    fn exists(&self, name: &str) -> Result<bool> {
        Ok(disk().files.contains_key(name))
    }

    fn temporary_name(&self) -> String {
        format!("temporary-{}", fastrand::u64(..))
    }

    fn random(&self, buffer: &mut [i8]) {
        buffer.iter_mut().for_each(|byte| *byte = fastrand::i8(..));
    }

    fn sleep(&self, duration: Duration) -> Duration {
        std::thread::sleep(duration);
        duration
    }
}

impl DatabaseHandle for Handle {
    type WalIndex = Index;

    fn size(&self) -> Result<u64> {
        Ok(disk().file(&self.name)?.seen.len() as u64)
    }

    fn read_exact_at(&mut self, buffer: &mut [u8], offset: u64) -> Result<()> {
        let mut disk = disk();
        let (seen, at) = (&disk.file(&self.name)?.seen, offset as usize);
        let bytes = seen.get(at.min(seen.len())..(at + buffer.len()).min(seen.len())).unwrap_or_default();
        // SQLite wants zeros for what the file does not hold, and to be told.
        buffer.fill(0);
        buffer[..bytes.len()].copy_from_slice(bytes);
        if bytes.len() == buffer.len() { Ok(()) } else { Err(ErrorKind::UnexpectedEof.into()) }
    }

    fn write_all_at(&mut self, buffer: &[u8], offset: u64) -> Result<()> {
        self.change(Change::Write(offset as usize, buffer.to_vec()))
    }

    fn sync(&mut self, _data_only: bool) -> Result<()> {
        let mut disk = disk();
        disk.power()?;
        let File { platter, unsynced, .. } = disk.file(&self.name)?;
        unsynced.drain(..).for_each(|change| change.apply(platter));
        Ok(())
    }

    fn set_len(&mut self, size: u64) -> Result<()> {
        self.change(Change::Length(size as usize))
    }

    fn lock(&mut self, lock: LockKind) -> Result<bool> {
        let mut disk = disk();
        let others = disk.locks.iter().filter(|(number, (name, _))| **number != self.number && *name == self.name);
        // A pending lock keeps new readers out, an exclusive one all, a reserved one other writers.
        let barred = others.map(|(_, (_, held))| *held).any(|held| match lock {
            LockKind::None => false,
            LockKind::Shared => held == LockKind::Exclusive,
            LockKind::Reserved | LockKind::Pending => held != LockKind::None && held != LockKind::Shared,
            LockKind::Exclusive => held != LockKind::None,
        });
        if !barred {
            disk.locks.insert(self.number, (self.name.clone(), lock));
        }
        Ok(!barred)
    }

    fn reserved(&mut self) -> Result<bool> {
        let disk = disk();
        let mut held = disk.locks.values().filter(|(name, _)| *name == self.name);
        Ok(held.any(|(_, held)| !matches!(held, LockKind::None | LockKind::Shared)))
    }

    fn current_lock(&self) -> Result<LockKind> {
        Ok(disk().locks.get(&self.number).map_or(LockKind::None, |(_, held)| *held))
    }

    fn wal_index(&self, _readonly: bool) -> Result<Index> {
        Ok(Index(self.name.clone()))
    }
}

impl Handle {
    fn change(&self, change: Change) -> Result<()> {
        let mut disk = disk();
        disk.power()?;
        let file = disk.file(&self.name)?;
        change.apply(&mut file.seen);
        file.unsynced.push(change);
        Ok(())
    }
}

impl WalIndex for Index {
    fn map(&mut self, region: u32) -> Result<Region> {
        let mut disk = disk();
        Ok(**disk.regions.entry((self.0.clone(), region)).or_insert_with(|| Box::new([0; 32_768])))
    }

    fn lock(&mut self, _locks: Range<u8>, _lock: WalIndexLock) -> Result<bool> {
        Ok(true)
    }

    fn delete(self) -> Result<()> {
        disk().regions.retain(|(name, _), _| *name != self.0);
        Ok(())
    }

    fn pull(&mut self, region: u32, data: &mut Region) -> Result<()> {
        if let Some(shared) = disk().regions.get(&(self.0.clone(), region)) {
            data.copy_from_slice(&**shared);
        }
        Ok(())
    }

    fn push(&mut self, region: u32, data: &Region) -> Result<()> {
        disk().regions.insert((self.0.clone(), region), Box::new(*data));
        Ok(())
    }
}
