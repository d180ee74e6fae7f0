//! Schedules of the twins: stored, moved and removed, with versions that are right or long gone, and with jobs. Each storage
//! gives versions of its own, so both are told theirs.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{Twin, Twins, both};
use crate::clock::Clock;
use crate::model::{NewJob, Node, ScheduleName, Shard, Timestamp};
use crate::storage::{ScheduleChange, SchedulePage, ScheduleQuery, ScheduleRecord, Storage, Ticked};

/// The first is a prefix of the second, and what comes last by its bytes does not by its letters.
const NAMES: [&str; 6] = ["s", "s:1", "S", "zz", "été", "Ω/1"];

/// A version in both: the reference's, and the twin's.
type Version = [u64; 2];

/// What is known of the schedules of the twins.
#[derive(Default)]
pub(super) struct Book {
    /// The versions that are stored.
    stored: BTreeMap<ScheduleName, Version>,
    /// All that ever were, in the order in which they were given.
    given: Vec<(ScheduleName, Version)>,
}

impl<T: Twin> Twins<T> {
    fn any_name(&mut self) -> ScheduleName {
        NAMES[self.random.usize(..NAMES.len())].parse().unwrap()
    }

    /// The version of it that is stored, or one that it had, or one of another, or none.
    fn any_version(&mut self, name: &ScheduleName) -> Option<Version> {
        let given = match self.random.u8(..8) {
            0..5 => return self.book.stored.get(name).copied(),
            5 => self.book.given.iter().filter(|(of, _)| of == name).map(|(_, version)| *version).collect(),
            6 => self.book.given.iter().map(|(_, version)| *version).collect(),
            _ => Vec::new(),
        };
        self.random.choice(given)
    }

    fn any_due(&mut self) -> Option<Timestamp> {
        let (now, by) = (self.clock.now(), self.span(0, 20_000_000));
        match self.random.u8(..12) {
            0..6 => Some(now + by),
            6..8 => Some(now - by),
            8 => Some(now),
            9 => Some(Timestamp::EPOCH),
            10 => Some(Timestamp::MAX),
            _ => None,
        }
    }

    /// The jobs of a tick, behind others of the same call.
    fn ticked_jobs(&mut self, earlier: &[NewJob]) -> Vec<NewJob> {
        let mut all = earlier.to_vec();
        for _ in 0..[0, 0, 1, 1, 2][self.random.usize(..5)] {
            let mut job = self.new_job(&all);
            job.waits_for.clear();
            job.node = Node::Task;
            all.push(job);
        }
        all.split_off(earlier.len())
    }

    /// A change as each of both is told it.
    fn any_change(&mut self, earlier: &[NewJob]) -> [ScheduleChange; 2] {
        let name = self.any_name();
        let version = self.any_version(&name);
        let data: Vec<u8> = (0..self.random.usize(..9)).map(|_| self.random.u8(..)).collect();
        let due = self.any_due();
        let to = (self.random.u8(..5) > 0).then(|| (due, Bytes::from(data)));
        let jobs = self.ticked_jobs(earlier);
        [0, 1].map(|at| {
            let change = ScheduleChange::new(name.clone(), version.map(|version| version[at]), to.clone());
            ScheduleChange { jobs: jobs.clone(), ..change }
        })
    }

    pub(super) async fn tick(&mut self) {
        let (mut changes, mut jobs): ([Vec<ScheduleChange>; 2], Vec<NewJob>) = Default::default();
        for _ in 0..self.random.usize(..5) {
            let [expected, change] = self.any_change(&jobs);
            jobs.extend(change.jobs.iter().cloned());
            changes[0].push(expected);
            changes[1].push(change);
        }
        self.ids.extend(jobs.iter().map(|job| job.id));
        let mut expected = self.memory.tick(&self.shard, &changes[0]).await.unwrap();
        let mut answer = self.twin.storage().tick(&self.shard, &changes[1]).await.unwrap();
        self.note().await;
        let versions = self.versions(&expected.due);
        assert_eq!(take_versions(&mut expected.due), versions.iter().map(|one| one[0]).collect::<Vec<_>>());
        assert_eq!(take_versions(&mut answer.due), versions.iter().map(|one| one[1]).collect::<Vec<_>>());
        let Ticked { changed, due, .. } = &expected;
        assert_eq!(answer, expected, "{changed:?} and {due:?} were expected of {:#?}", changes[1]);
    }

    /// Compares all schedules, page by page, and learns their versions.
    async fn note(&mut self) {
        let most = self.random.u32(..4);
        let mut expected = schedules(&*self.memory, &self.shard, most).await;
        let mut found = schedules(self.twin.storage(), &self.shard, most).await;
        let versions = take_versions(&mut expected).into_iter().zip(take_versions(&mut found));
        let versions: Vec<_> = versions.map(|(expected, found)| [expected, found]).collect();
        assert_eq!(found, expected);
        let last = self.book.given.iter().map(|(_, version)| *version).max().unwrap_or_default();
        let stored = std::mem::take(&mut self.book.stored);
        for (name, version) in expected.into_iter().map(|record| record.name).zip(versions) {
            if stored.get(&name) != Some(&version) {
                assert!(version[0] > last[0] && version[1] > last[1], "{name}: {version:?} after {last:?}");
                self.book.given.push((name.clone(), version));
            }
            self.book.stored.insert(name, version);
        }
    }

    fn versions(&self, due: &[ScheduleRecord]) -> Vec<Version> {
        due.iter().map(|record| self.book.stored[&record.name]).collect()
    }

    /// Looks for schedules that are there or not, and for the shards that have any.
    pub(super) async fn compare_schedules(&mut self) {
        let (after, most) = (self.any_name(), self.random.u32(1..4));
        let names = (0..self.random.usize(..4)).map(|_| self.any_name()).collect();
        for query in [ScheduleQuery::After(Some(after), most), ScheduleQuery::Named(names)] {
            let plain = |mut page: SchedulePage| {
                take_versions(&mut page.schedules);
                page
            };
            let expected = plain(self.memory.schedules(&self.shard, &query).await.unwrap());
            let found = plain(self.twin.storage().schedules(&self.shard, &query).await.unwrap());
            assert_eq!(found, expected, "{query:?}");
        }
        self.note().await;
        both!(self.shards(), "the shards");
    }
}

/// Takes the versions out of records, which are the same otherwise.
fn take_versions(records: &mut [ScheduleRecord]) -> Vec<u64> {
    records.iter_mut().map(|record| std::mem::take(&mut record.version)).collect()
}

/// All that are stored, so many a page.
async fn schedules(storage: &dyn Storage, shard: &Shard, most: u32) -> Vec<ScheduleRecord> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = storage.schedules(shard, &ScheduleQuery::After(after, most)).await.unwrap();
        all.extend(page.schedules);
        after = page.next;
        if after.is_none() {
            return all;
        }
    }
}
