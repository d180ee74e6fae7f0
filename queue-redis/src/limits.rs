//! What holds a job back for the sake of others, as the part of a record that says so, and how a key is used.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};
use queue_storage::model::{Conflict, Job, JobId, Key, Limit, Parked, Rate, Timestamp, Unique, WhenFull, Window};
use queue_storage::storage::Usage;

use crate::driver::Reply;
use crate::record::micros;

/// Adds the section of a record that says what makes a job unique and what limits it: its length (2), the one, and the
/// others behind their count (1).
pub(crate) fn put(out: &mut Vec<u8>, unique: Option<&Unique>, limits: &[Limit]) {
    let mut section = Vec::with_capacity(64);
    match unique {
        Some(unique) => put_unique(&mut section, unique),
        None => section.put_u8(b'-'),
    }
    section.put_u8(u8::try_from(limits.len()).unwrap_or(u8::MAX));
    limits.iter().for_each(|limit| put_limit(&mut section, limit));
    out.put_u16(u16::try_from(section.len()).unwrap_or(u16::MAX));
    out.put_slice(&section);
}

fn put_key(out: &mut Vec<u8>, key: &Key) {
    out.put_u8(u8::try_from(key.as_str().len()).unwrap_or(u8::MAX));
    out.put_slice(key.as_str().as_bytes());
}

fn put_unique(out: &mut Vec<u8>, unique: &Unique) {
    let (window, length) = match unique.window {
        Window::Started => (b's', Duration::ZERO),
        Window::Finished => (b'f', Duration::ZERO),
        Window::For(length) => (b't', length),
        _ => (b'e', Duration::ZERO),
    };
    out.put_u8(window);
    out.put_u64(micros(length));
    out.put_u8(match unique.conflict {
        Conflict::Reject => b'r',
        Conflict::Replace => b'p',
        Conflict::Debounce => b'd',
        _ => b'e',
    });
    put_key(out, &unique.key);
}

fn put_limit(out: &mut Vec<u8>, limit: &Limit) {
    match limit {
        Limit::Slots { most, full, .. } => {
            out.put_u8(b's');
            out.put_u32(*most);
            out.put_u8(if *full == WhenFull::Cancel { b'c' } else { b'w' });
        }
        Limit::Rate { rate, cost, .. } => {
            out.put_u8(b'r');
            out.put_u64(micros(rate.every));
            out.put_u32(rate.burst);
            out.put_u32(*cost);
        }
        _ => out.put_u8(b'?'),
    }
    put_key(out, limit.key());
}

/// Takes the section off a record.
pub(crate) fn take(record: &mut Bytes) -> Option<(Option<Unique>, Vec<Limit>)> {
    let length = usize::from(record.try_get_u16().ok()?);
    let mut section = (record.len() >= length).then(|| record.split_to(length))?;
    let unique = match section.try_get_u8().ok()? {
        b'-' => None,
        window => Some(take_unique(&mut section, window)?),
    };
    let count = section.try_get_u8().ok()?;
    let limits = (0..count).map(|_| take_limit(&mut section)).collect::<Option<_>>()?;
    section.is_empty().then_some((unique, limits))
}

fn take_key(bytes: &mut Bytes) -> Option<Key> {
    let length = usize::from(bytes.try_get_u8().ok()?);
    let name = (bytes.len() >= length).then(|| bytes.split_to(length))?;
    Key::new(std::str::from_utf8(&name).ok()?).ok()
}

fn take_unique(bytes: &mut Bytes, window: u8) -> Option<Unique> {
    let length = Duration::from_micros(bytes.try_get_u64().ok()?);
    let conflict = match bytes.try_get_u8().ok()? {
        b'e' => Conflict::Existing,
        b'r' => Conflict::Reject,
        b'p' => Conflict::Replace,
        b'd' => Conflict::Debounce,
        _ => return None,
    };
    let window = match window {
        b's' => Window::Started,
        b'f' => Window::Finished,
        b't' => Window::For(length),
        b'e' => Window::Forever,
        _ => return None,
    };
    Some(Unique::new(take_key(bytes)?, window, conflict))
}

fn take_limit(bytes: &mut Bytes) -> Option<Limit> {
    match bytes.try_get_u8().ok()? {
        b's' => {
            let most = bytes.try_get_u32().ok()?;
            let full = if bytes.try_get_u8().ok()? == b'c' { WhenFull::Cancel } else { WhenFull::Wait };
            Some(Limit::Slots { key: take_key(bytes)?, most, full })
        }
        b'r' => {
            let rate = rate(bytes)?;
            let cost = bytes.try_get_u32().ok()?;
            Some(Limit::Rate { key: take_key(bytes)?, rate, cost })
        }
        _ => None,
    }
}

/// A rate from the time that one start pays for (8) and the burst (4).
pub(crate) fn rate(bytes: &mut impl Buf) -> Option<Rate> {
    let every = Duration::from_micros(bytes.try_get_u64().ok()?);
    Some(Rate::per(every, 1).burst(bytes.try_get_u32().ok()?))
}

/// When the rate opens for which a job is parked, if it is, with all paid for at `paid_at` that has started under it.
pub(crate) fn opens_at(job: &Job, paid_at: Timestamp) -> Option<Timestamp> {
    let key = job.parked_for.as_ref().filter(|_| job.parked == Some(Parked::RateWindow))?;
    job.limits.iter().find_map(|limit| match limit {
        Limit::Rate { key: one, rate, cost } if one == key => Some(rate.opens_at(paid_at, *cost)),
        _ => None,
    })
}

/// How a key is used, from the answer of the script.
pub(crate) fn usage(answer: Vec<Reply>) -> Option<Usage> {
    let [now, owner, running, waiting, throttled, paid_at] = <[Reply; 6]>::try_from(answer).ok()?;
    let now = Timestamp::from_micros(now.text()?.parse().ok()?);
    let mut usage = Usage::new();
    if let Some(mut owner) = owner.bytes() {
        let (id, until) = (owner.try_get_u128().ok()?, owner.try_get_u64().ok()?);
        let until = (until != u64::MAX).then(|| Timestamp::from_micros(until.cast_signed()));
        if until.is_none_or(|until| now < until) {
            (usage.unique, usage.unique_until) = (Some(JobId::from_u128(id)), until);
        }
    }
    let count = |reply: Reply| u64::try_from(reply.int()?).ok();
    (usage.running, usage.waiting, usage.throttled) = (count(running)?, count(waiting)?, count(throttled)?);
    let paid_at = paid_at.text().and_then(|text| text.parse().ok()).map(Timestamp::from_micros);
    usage.paid_at = paid_at.filter(|paid| *paid > now);
    Some(usage)
}
