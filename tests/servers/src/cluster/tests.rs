use super::*;

/// A key of a node's, and its slot.
fn key_on(cluster: &Cluster, node: usize) -> (String, u16) {
    let keys = (0..).map(|number| format!("key-{number}"));
    let mut keys = keys.map(|key| (key.clone(), cluster.slot_of(&key)));
    keys.find(|(_, slot)| cluster.owner_of(*slot) == node).unwrap()
}

fn refusal(node: &Redis, command: &[&str]) -> String {
    node.try_cli(command).unwrap_err()
}

#[test]
fn three_nodes_share_the_slots() {
    let cluster = shared_cluster();
    assert_eq!(cluster.nodes().len(), 3);
    assert_eq!([0, 5460, 5461, 10_921, 10_922, 16_383].map(|slot| cluster.owner_of(slot)), [0, 0, 1, 1, 2, 2]);
    assert_eq!(cluster.slot_of("123456789"), 12_739);
    assert_eq!(cluster.slot_of("{123456789}:other"), 12_739);
    let ports: Vec<u16> = cluster.nodes().iter().map(Redis::port).collect();
    let [first, second, third] = ports[..] else { panic!("{ports:?}") };
    assert_eq!(cluster.url(), format!("redis-cluster://127.0.0.1:{first},127.0.0.1:{second},127.0.0.1:{third}"));
}

#[test]
fn each_node_takes_its_keys_and_sends_on_those_of_others() {
    let cluster = shared_cluster();
    for node in 0..3 {
        let (key, slot) = key_on(cluster, node);
        assert_eq!(cluster.nodes()[node].cli(&["SET", &key, "x"]), "OK");
        let moved = format!("MOVED {slot} 127.0.0.1:{}", cluster.nodes()[node].port());
        assert!(refusal(&cluster.nodes()[(node + 1) % 3], &["GET", &key]).contains(&moved));
    }
}

#[test]
fn a_slot_moves_with_all_its_keys() {
    let cluster = Cluster::start(2);
    let (tag, slot) = key_on(&cluster, 0);
    let key = |number: usize| format!("{{{tag}}}:{number}");
    (0..250).for_each(|number| drop(cluster.nodes()[0].cli(&["SET", &key(number), &number.to_string()])));

    cluster.move_slot(slot, 1);
    assert_eq!(cluster.owner_of(slot), 1);
    for number in 0..250 {
        assert_eq!(cluster.nodes()[1].cli(&["GET", &key(number)]), number.to_string());
    }
    assert_eq!(cluster.nodes()[0].cli(&["DBSIZE"]), "0");
    assert!(refusal(&cluster.nodes()[0], &["GET", &key(0)]).contains("MOVED"));

    cluster.move_slot(slot, 1);
    cluster.move_slot(slot, 0);
    assert_eq!((cluster.owner_of(slot), cluster.nodes()[0].cli(&["DBSIZE"])), (0, "250".to_owned()));
}

#[test]
fn half_way_the_owner_asks_to_look_elsewhere() {
    let cluster = Cluster::start(2);
    let (key, slot) = key_on(&cluster, 1);
    cluster.nodes()[1].cli(&["SET", &key, "x"]);
    cluster.begin_move(slot, 0);
    assert_eq!(cluster.owner_of(slot), 1);
    assert_eq!(cluster.nodes()[1].cli(&["GET", &key]), "x");
    assert!(refusal(&cluster.nodes()[1], &["GET", &format!("{{{key}}}:new")]).contains("ASK"));
    cluster.finish_move(slot, 0);
    assert_eq!(cluster.nodes()[0].cli(&["GET", &key]), "x");
}

#[test]
fn a_node_which_comes_back_is_let_in() {
    let cluster = Cluster::start(3);
    let (key, _) = key_on(&cluster, 0);
    cluster.nodes()[2].kill();
    let down = look(|| cluster.nodes()[0].try_cli(&["GET", &key]).err());
    assert!(down.unwrap().contains("CLUSTERDOWN"));
    assert_eq!(cluster.owner_of(16_383), 2);
    cluster.nodes()[2].start_again();
    cluster.wait_until_ok();
    cluster.nodes()[0].cli(&["GET", &key]);
}

#[test]
fn slots_are_read_as_the_server_writes_them() {
    let line = "id 127.0.0.1:1@2 myself,master - 0 0 1 connected 7 9-12 [20->-other]";
    let has: Vec<u16> = (0..30).filter(|slot| has_slot(line, *slot)).collect();
    assert_eq!(has, [7, 9, 10, 11, 12]);
}
