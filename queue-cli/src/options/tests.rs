use super::*;

fn parsed(line: &str) -> Result<Options, clap::Error> {
    Options::parse_from("worker", "1.2.3".to_owned(), line.split_whitespace().map(OsString::from))
}

fn of(line: &str, variables: &[(&str, &str)]) -> Result<Options, Vec<String>> {
    let lookup = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value));
    parsed(line).unwrap().or_env(lookup)
}

fn queue(name: &str, weight: Option<u32>) -> Served {
    Served { name: QueueName::new(name).unwrap(), weight }
}

#[test]
fn what_the_command_line_means() {
    let table: &[(&str, Options)] = &[
        ("", Options::default()),
        ("-w 4", Options { workers: Some(4), ..Options::default() }),
        ("--workers=4", Options { workers: Some(4), ..Options::default() }),
        (
            "--queues mail,reports=3 --queues=default",
            Options {
                queues: vec![queue("mail", None), queue("reports", Some(3)), queue("default", None)],
                ..Options::default()
            },
        ),
        ("--periodic", Options { periodic: true, ..Options::default() }),
        ("--no-periodic", Options { no_periodic: true, ..Options::default() }),
        ("-k greenlet", Options { worker_type: Some(WorkerType::Greenlet), ..Options::default() }),
        (
            "--worker-type thread -v",
            Options { worker_type: Some(WorkerType::Thread), verbose: true, ..Options::default() },
        ),
        (
            "--quiet -l a.log --log-format json",
            Options {
                quiet: true,
                logfile: Some("a.log".into()),
                log_format: Some(LogFormat::Json),
                ..Options::default()
            },
        ),
        (
            "--url memory: --shutdown-timeout 1h30m",
            Options {
                url: Some("memory:".to_owned()),
                shutdown_timeout: Some(Duration::from_secs(5_400)),
                ..Options::default()
            },
        ),
        (
            "--check --health-addr [::1]:8081",
            Options { check: true, health_addr: Some("[::1]:8081".parse().unwrap()), ..Options::default() },
        ),
    ];
    for (line, expected) in table {
        assert_eq!(&parsed(line).unwrap(), expected, "{line}");
    }
}

#[test]
fn what_is_wrong_says_what_is_right() {
    let table = [
        ("-w 0", "write how many jobs run at once, at least 1"),
        ("-w many", "invalid value 'many' for '--workers <N>'"),
        ("--queues a,,b", "`` can't name a queue: it is empty"),
        ("--queues a=0", "the weight of queue `a` is a number from 1 on, as `a=3`"),
        ("-k fiber", "[possible values: thread, process, greenlet]"),
        ("--log-format jso", "a similar value exists: 'json'"),
        ("--shutdown-timeout soon", "write `90s`, `2m`, `1h30m` or `500ms`"),
        ("--health-addr 8081", "write an address and a port, as `127.0.0.1:8081`"),
        ("--worker 4", "a similar argument exists: '--workers'"),
        ("-v -q", "cannot be used with"),
        ("--periodic --no-periodic", "cannot be used with"),
        ("--no-periodic --periodic", "cannot be used with"),
        ("tasks.queue", "unexpected argument 'tasks.queue' found"),
    ];
    for (line, help) in table {
        let error = parsed(line).unwrap_err();
        assert!(error.to_string().contains(help) && error.exit_code() == 2, "{line}: {error}");
    }
}

#[test]
fn variables_say_what_the_command_line_does_not() {
    let all = [
        ("QUEUE_WORKERS", "7"),
        ("QUEUE_QUEUES", "mail, reports=3"),
        ("QUEUE_PERIODIC", "no"),
        ("QUEUE_WORKER_TYPE", "process"),
        ("QUEUE_VERBOSE", "1"),
        ("QUEUE_LOGFILE", "a.log"),
        ("QUEUE_LOG_FORMAT", "JSON"),
        ("QUEUE_SHUTDOWN_TIMEOUT", "90"),
        ("QUEUE_HEALTH_ADDR", "127.0.0.1:8081"),
    ];
    let said = of("", &all).unwrap();
    assert_eq!((said.workers, said.shutdown_timeout), (Some(7), Some(Duration::from_secs(90))));
    assert_eq!(said.queues, [queue("mail", Some(1)), queue("reports", Some(3))]);
    assert_eq!((said.periodic(), said.amount()), (Some(false), Amount::Verbose));
    assert_eq!((said.worker_type, said.log_format), (Some(WorkerType::Process), Some(LogFormat::Json)));
    assert_eq!((said.logfile, said.health_addr), (Some("a.log".into()), "127.0.0.1:8081".parse().ok()));

    let line =
        "-w 1 --queues x --periodic -k thread -q -l b.log --log-format text --shutdown-timeout 1s --health-addr [::]:1";
    assert_eq!(of(line, &all).unwrap(), parsed(line).unwrap(), "the command line wins");
    assert_eq!(of("", &all.map(|(name, _)| (name, ""))).unwrap(), Options::default(), "empty is not set");
}

#[test]
fn one_weight_gives_each_queue_a_weight() {
    let weighed = [queue("mail", Some(3)), queue("default", Some(1))];
    assert_eq!(of("--queues mail=3,default", &[]).unwrap().queues, weighed);
    assert_eq!(of("--queues mail=3 --queues default", &[]).unwrap().queues, weighed);
    assert_eq!(of("", &[("QUEUE_QUEUES", "mail=3,default")]).unwrap().queues, weighed);
    assert_eq!(of("--queues mail,default", &[]).unwrap().queues, [queue("mail", None), queue("default", None)]);
}

#[test]
fn what_is_wrong_with_variables_is_said_all_of_it() {
    let wrong = of(
        "",
        &[
            ("QUEUE_WORKERS", "0"),
            ("QUEUE_QUEUES", "a=b"),
            ("QUEUE_PERIODIC", "sometimes"),
            ("QUEUE_LOG_FORMAT", "xml"),
            ("QUEUE_VERBOSE", "1"),
            ("QUEUE_QUIET", "1"),
        ],
    );
    assert_eq!(
        wrong.unwrap_err(),
        [
            "the variable QUEUE_WORKERS is `0`: write how many jobs run at once, at least 1",
            "the variable QUEUE_QUEUES is `a=b`: the weight of queue `a` is a number from 1 on, as `a=3`",
            "the variable QUEUE_PERIODIC is `sometimes`: write `true` or `false`",
            "QUEUE_VERBOSE and QUEUE_QUIET are both on: unset one of them",
            "the variable QUEUE_LOG_FORMAT is `xml`: write one of `text`, `json`",
        ]
    );
}

#[test]
fn help_and_version_are_no_trouble() {
    let version = parsed("--version").unwrap_err();
    assert_eq!((version.to_string().as_str(), version.exit_code()), ("worker 1.2.3\n", 0));
    let help = parsed("--help").unwrap_err();
    assert_eq!(help.exit_code(), 0);
    // `QUEUE_BLESS=1` writes the text down that is looked at in a review.
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/src/options/help.txt");
    if std::env::var_os("QUEUE_BLESS").is_some() {
        std::fs::write(file, help.to_string()).unwrap();
    }
    assert_eq!(help.to_string(), std::fs::read_to_string(file).unwrap());
    assert!(parsed("-h").unwrap_err().to_string().contains("--queues mail=3,reports=1"));
}
