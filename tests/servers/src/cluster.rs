//! A Redis cluster.

use std::iter;
use std::sync::OnceLock;

use crate::patience::look;
use crate::ports::free_port;
use crate::redis::{Redis, plain};

#[cfg(test)]
mod tests;

const SLOTS: usize = 16_384;

/// How many keys a move takes at once, and how long one such step may take, in milliseconds.
const MOVED_AT_ONCE: &str = "100";
const MOVE_TIMEOUT: &str = "5000";

/// A cluster of primaries without replicas: node 0 has the first slots, the last node has the last ones.
///
/// A node that is killed takes its slots with it; two seconds later the others say so (`cluster_state:fail`) and
/// refuse every command for keys until it is back.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Redis>,
    ids: Vec<String>,
}

/// One cluster of three for the whole test process, for tests which keep to keys of their own and move no slots.
///
/// # Panics
///
/// When it cannot be started: see [`Cluster::start`].
#[must_use]
pub fn shared_cluster() -> &'static Cluster {
    static SHARED: OnceLock<Cluster> = OnceLock::new();
    SHARED.get_or_init(|| Cluster::start(3))
}

impl Cluster {
    /// Starts so many primaries, and waits until each knows all and takes commands.
    ///
    /// It takes a little more than two seconds, the time for which a primary that has just started refuses to serve
    /// (`CLUSTER_WRITABLE_DELAY` in the server's source; no option shortens it).
    ///
    /// # Panics
    ///
    /// As [`Redis::start`]; when `nodes` is 0; when the nodes do not come to agree.
    #[must_use]
    pub fn start(nodes: usize) -> Self {
        assert!(nodes > 0, "a cluster has a node");
        let nodes: Vec<Redis> = iter::repeat_with(start_node).take(nodes).collect();
        let ids = nodes.iter().map(|node| node.cli(&["CLUSTER", "MYID"])).collect();
        let cluster = Self { nodes, ids };
        cluster.deal_slots();
        cluster.introduce();
        cluster.wait_until_ok();
        cluster
    }

    /// All nodes: `redis-cluster://HOST:PORT,HOST:PORT,…`.
    #[must_use]
    pub fn url(&self) -> String {
        let nodes: Vec<String> = self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port())).collect();
        format!("redis-cluster://{}", nodes.join(","))
    }

    /// The servers.
    #[must_use]
    pub fn nodes(&self) -> &[Redis] {
        &self.nodes
    }

    /// The slot of a key.
    ///
    /// # Panics
    ///
    /// When no node runs.
    #[must_use]
    pub fn slot_of(&self, key: &str) -> u16 {
        self.witness().cli(&["CLUSTER", "KEYSLOT", key]).parse().expect("a slot is a number")
    }

    /// Which node has a slot: an index into [`nodes`](Self::nodes).
    ///
    /// # Panics
    ///
    /// When no node runs, or nobody has the slot.
    #[must_use]
    pub fn owner_of(&self, slot: u16) -> usize {
        self.owner_by(self.witness(), slot).unwrap_or_else(|| panic!("nobody has slot {slot}"))
    }

    /// Moves a slot with its keys to another node, while clients go on using it. Returns when every node knows.
    ///
    /// # Panics
    ///
    /// When a node does not run, or `to` is none of them, or a key's name has a line break in it.
    pub fn move_slot(&self, slot: u16, to: usize) {
        if self.owner_of(slot) != to {
            self.begin_move(slot, to);
            self.finish_move(slot, to);
        }
    }

    /// The first half of [`move_slot`](Self::move_slot): from here on the owner sends clients to the new node
    /// (`-ASK`) for keys which it does not have; no key has moved yet.
    ///
    /// # Panics
    ///
    /// As [`move_slot`](Self::move_slot), and when the slot is there already.
    pub fn begin_move(&self, slot: u16, to: usize) {
        let from = self.owner_of(slot);
        assert_ne!(from, to, "slot {slot} is there already");
        let slot = slot.to_string();
        self.nodes[to].cli(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &self.ids[from]]);
        self.nodes[from].cli(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &self.ids[to]]);
    }

    /// The second half: moves the keys, then tells every node (`-MOVED` from here on).
    ///
    /// # Panics
    ///
    /// As [`move_slot`](Self::move_slot).
    pub fn finish_move(&self, slot: u16, to: usize) {
        let from = self.owner_of(slot);
        self.move_keys(slot, from, to);
        // The new owner first, for there must be one at every moment; then the old one, lest it ask for keys elsewhere.
        let others = (0..self.nodes.len()).filter(|node| ![from, to].contains(node));
        for node in [to, from].into_iter().chain(others) {
            self.nodes[node].cli(&["CLUSTER", "SETSLOT", &slot.to_string(), "NODE", &self.ids[to]]);
        }
        let known = look(|| self.nodes.iter().all(|node| self.owner_by(node, slot) == Some(to)).then_some(()));
        assert!(known.is_some(), "the nodes do not agree that node {to} has slot {slot}: {}", self.views());
    }

    /// Waits until every node knows all others and takes commands, as after the restart of one.
    ///
    /// # Panics
    ///
    /// When that does not come about.
    pub fn wait_until_ok(&self) {
        let ok = look(|| self.nodes.iter().all(|node| self.is_ok(node)).then_some(()));
        assert!(ok.is_some(), "the cluster did not become one: {}", self.views());
    }

    fn deal_slots(&self) {
        let count = self.nodes.len();
        for (index, node) in self.nodes.iter().enumerate() {
            let (first, end) = (index * SLOTS / count, (index + 1) * SLOTS / count);
            node.cli(&["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &(end - 1).to_string()]);
            // Nodes of one epoch would have to settle first who is the newer.
            node.cli(&["CLUSTER", "SET-CONFIG-EPOCH", &(index + 1).to_string()]);
        }
    }

    /// Each to each, since gossip would take its time.
    fn introduce(&self) {
        for (index, node) in self.nodes.iter().enumerate() {
            for other in &self.nodes[..index] {
                let (port, bus) = (other.port().to_string(), other.cli(&["CONFIG", "GET", "cluster-port"]));
                let bus = bus.lines().last().expect("a cluster node has a bus").to_owned();
                node.cli(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]);
            }
        }
    }

    fn move_keys(&self, slot: u16, from: usize, to: usize) {
        let (slot, port) = (slot.to_string(), self.nodes[to].port().to_string());
        loop {
            let keys = self.nodes[from].cli(&["CLUSTER", "GETKEYSINSLOT", &slot, MOVED_AT_ONCE]);
            if keys.is_empty() {
                return;
            }
            let mut migrate = vec!["MIGRATE", "127.0.0.1", &port, "", "0", MOVE_TIMEOUT, "KEYS"];
            migrate.extend(keys.lines());
            let said = self.nodes[from].cli(&migrate);
            assert_eq!(said, "OK", "these keys cannot be moved by name: {keys}");
        }
    }

    fn is_ok(&self, node: &Redis) -> bool {
        let Ok(info) = node.try_cli(&["CLUSTER", "INFO"]) else { return false };
        let nodes = self.nodes.len();
        let wanted = ["cluster_state:ok", "cluster_slots_ok:16384", &format!("cluster_known_nodes:{nodes}")];
        wanted.iter().all(|field| info.lines().any(|line| line.trim() == *field))
    }

    /// The owner of a slot, as one node sees it.
    fn owner_by(&self, node: &Redis, slot: u16) -> Option<usize> {
        let view = node.cli(&["CLUSTER", "NODES"]);
        let line = view.lines().find(|line| has_slot(line, slot))?;
        self.ids.iter().position(|id| line.starts_with(id))
    }

    /// A node to ask.
    fn witness(&self) -> &Redis {
        self.nodes.iter().find(|node| node.is_running()).expect("no node of the cluster runs")
    }

    fn views(&self) -> String {
        let view = |node: &Redis| node.try_cli(&["CLUSTER", "NODES"]).unwrap_or_else(|error| error);
        self.nodes.iter().map(|node| format!("\nby the node on port {}:\n{}", node.port(), view(node))).collect()
    }
}

fn start_node() -> Redis {
    let node = Redis::launch(iter::repeat_with(free_port), |dir, port| {
        let bus = free_port().to_string();
        let cluster = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--cluster-port", &bus];
        plain(dir, port).into_iter().chain(cluster.map(str::to_owned)).collect()
    });
    node.wait_until_ready();
    node
}

/// Whether a line of `CLUSTER NODES` gives a slot to its node: eight words about the node, then `7`, `9-12`, or what
/// is on the move: `[7->-ID]`.
fn has_slot(line: &str, slot: u16) -> bool {
    line.split_whitespace().skip(8).any(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        first.parse().is_ok_and(|first: u16| first <= slot) && last.parse().is_ok_and(|last: u16| slot <= last)
    })
}
