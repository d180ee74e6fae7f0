//! Ids that follow from others, so that making them twice makes one job.

use queue_storage::model::{JobId, Shard};

/// The id that follows from this one, a word, and where it is to live: always the same, made at the same moment.
pub(crate) fn derived(id: JobId, word: &[u8], shard: &Shard) -> JobId {
    // The 62 random bits of a UUIDv7's second half, of which the last twelve name the home.
    const RANDOM: u128 = (1 << 62) - 1;
    let hash = hash(&[&id.as_u128().to_be_bytes(), word, shard.to_string().as_bytes()]);
    JobId::from_u128(id.as_u128() ^ (u128::from(hash) & RANDOM)).at_home(shard)
}

/// A number that follows from these bytes, one after the other: FNV-1a, 64 bits.
pub(crate) fn hash(parts: &[&[u8]]) -> u64 {
    parts.iter().fold(0xcbf2_9ce4_8422_2325, |hash, part| fnv(hash, part))
}

/// FNV-1a, 64 bits: Fowler, Noll, Vo, <http://www.isthe.com/chongo/tech/comp/fnv/>.
fn fnv(seed: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(seed, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_and_each_shard_makes_another() {
        let shard = |name: &str| Shard::of(name.parse().unwrap());
        let id = JobId::new(&shard("a"));
        let made = [
            derived(id, b"x", &shard("a")),
            derived(id, b"y", &shard("a")),
            derived(id, b"x", &shard("b")),
            derived(JobId::new(&shard("a")), b"x", &shard("a")),
        ];
        for (at, one) in made.iter().enumerate() {
            assert!(*one != id && !made[..at].contains(one));
        }
        assert_eq!(made[0], derived(id, b"x", &shard("a")));
        assert_eq!(made[0].as_u128() >> 62 & 0x3, id.as_u128() >> 62 & 0x3, "the variant of a UUID stays");
        assert_eq!((made[2].home_tag(), made[0].made_at()), (shard("b").tag(), id.made_at()));
    }
}
