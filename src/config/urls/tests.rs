//! URLs as they are found in the wild, and that what is wrong is told without a word of them.

use std::time::Duration;

use super::*;
use crate::config::probes::{Role, TlsMode};

fn ask(url: &str) -> Ask {
    parse(url, None).unwrap_or_else(|wrong| panic!("{url} {wrong}"))
}

fn target_of(url: &str) -> String {
    target(&ask(url))
}

#[test]
fn postgres_is_read_as_libpq_reads_it() {
    let Ask::Postgres(all) = ask(
        "postgresql://me:p%40ss%2F@h1:1,h2,[::1]:3/my%20db?sslmode=verify-full&target_session_attrs=read-write&pgbouncer=true",
    ) else {
        panic!()
    };
    let servers: Vec<String> = all.servers.iter().map(Server::to_string).collect();
    assert_eq!(servers, ["h1:1", "h2:5432", "[::1]:3"]);
    assert_eq!((all.user.as_str(), all.database.as_str()), ("me", "my db"));
    assert!(all.password.is_some_and(|password| password.matches(b"p@ss/")));
    assert_eq!((all.tls.mode, all.role), (TlsMode::VerifyFull, Role::Primary));

    let Ask::Postgres(least) = ask("postgres://me@db") else { panic!() };
    assert_eq!((least.user.as_str(), least.database.as_str()), ("me", "me"));
    assert_eq!((least.servers[0].to_string(), least.password), ("db:5432".to_owned(), None));
    assert_eq!((least.tls.mode, least.tls.ca_file, least.role), (TlsMode::Prefer, None, Role::Any));

    let Ask::Postgres(words) = ask(
        "postgres:///?host=/run/postgresql&port=5433&user=u&dbname=d&password=x&sslrootcert=/ca.pem&sslmode=verify-ca",
    ) else {
        panic!()
    };
    assert_eq!(words.servers, [Server { host: "/run/postgresql".to_owned(), port: 5433 }]);
    assert_eq!((words.user.as_str(), words.database.as_str()), ("u", "d"));
    assert_eq!((words.tls.mode, words.tls.ca_file), (TlsMode::VerifyCa, Some("/ca.pem".into())));
    let Ask::Postgres(socket) = ask("postgres://u@%2Frun%2Fpg/d") else { panic!() };
    assert_eq!(socket.servers[0].host, "/run/pg");
    let Ask::Postgres(several) = ask("postgres://u@/d?host=a,b&port=1,2&sslrootcert=system") else {
        panic!()
    };
    assert_eq!(several.servers[1], Server { host: "b".to_owned(), port: 2 });
    assert_eq!(several.tls.mode, TlsMode::VerifyFull);
    let Ask::Postgres(own) = parse("postgres://db", Some("app")).unwrap() else { panic!() };
    assert_eq!((own.user.as_str(), own.database.as_str()), ("app", "app"), "libpq takes whoever it runs as");
    for url in ["postgresql+asyncpg://u@h/d", "postgis://u@h/d", "POSTGRES://u@h/d"] {
        assert_eq!(target_of(url), "postgres://h:5432/d");
    }
    // libpq knows no fragment.
    let Ask::Postgres(hash) = ask("postgres://u:a#b@h/d") else { panic!() };
    assert!(hash.password.is_some_and(|password| password.matches(b"a#b")));
}

#[test]
fn redis_may_be_a_server_a_socket_or_sentinels() {
    let redis = |url: &str| {
        let Ask::Redis(redis) = ask(url) else { panic!("no Redis: {url}") };
        redis
    };
    let plain = redis("redis://:pw@cache/2");
    assert_eq!(
        (plain.servers[0].to_string(), plain.database, plain.user),
        ("cache:6379".to_owned(), 2, None)
    );
    assert!(plain.password.is_some_and(|password| password.matches(b"pw")));
    assert_eq!(plain.tls.mode, TlsMode::Disable);
    assert_eq!(redis("rediss://u:p@cache:1").tls.mode, TlsMode::VerifyFull);
    assert_eq!(redis("rediss://cache:1#insecure").tls.mode, TlsMode::Require);
    assert_eq!(redis("rediss://cache:1/0?ssl_cert_reqs=CERT_NONE").tls.mode, TlsMode::Require);
    for url in ["unix:///run/r.sock?db=3&pass=x", "redis+unix:///run/r.sock?db=3&pass=x"] {
        let socket = redis(url);
        assert_eq!((socket.servers[0].host.as_str(), socket.database), ("/run/r.sock", 3));
        assert!(socket.password.is_some());
    }
    let watched = redis("redis+sentinel://u:p@s1,s2:7/main/4");
    assert_eq!(watched.servers.iter().map(Server::to_string).collect::<Vec<_>>(), ["s1:26379", "s2:7"]);
    assert_eq!((watched.sentinel.unwrap().primary.as_str(), watched.database), ("main", 4));
    let lettuce = redis("redis-sentinel://s1:1,s2:2/0#main");
    assert_eq!((lettuce.sentinel.unwrap().primary.as_str(), lettuce.servers.len()), ("main", 2));
}

#[test]
fn mysql_has_words_of_its_own_for_tls() {
    let mode = |word: &str| {
        let Ask::Mysql(mysql) = ask(&format!("mysql://u:p@h/d?ssl-mode={word}")) else { panic!("no MySQL") };
        mysql.tls.mode
    };
    assert_eq!(mode("DISABLED"), TlsMode::Disable);
    assert_eq!(mode("PREFERRED"), TlsMode::Prefer);
    assert_eq!(mode("REQUIRED"), TlsMode::Require);
    assert_eq!(mode("VERIFY_CA"), TlsMode::VerifyCa);
    assert_eq!(mode("VERIFY_IDENTITY"), TlsMode::VerifyFull);
    let Ask::Mysql(least) = ask("mariadb://u@h") else { panic!() };
    assert_eq!((least.server.to_string(), least.database.as_str()), ("h:3306".to_owned(), ""));
    assert_eq!(least.tls.mode, TlsMode::Prefer);
}

#[test]
fn services_are_read_as_urls() {
    let Ask::Http(http) = ask("https://api.example.com/v1/up?key=s3cret#x") else { panic!() };
    assert_eq!((http.authority.as_str(), http.path.expose()), ("api.example.com", "/v1/up?key=s3cret"));
    assert_eq!(http.tls.as_ref().map(|tls| tls.mode), Some(TlsMode::VerifyFull));
    assert_eq!(
        (http.status.clone(), http.certificate_min),
        (vec![200..=399], Duration::from_secs(14 * 86_400))
    );
    let Ask::Http(plain) = ask("http://[::1]:8080?x=1") else { panic!() };
    assert_eq!((plain.authority.as_str(), plain.path.expose()), ("[::1]:8080", "/?x=1"));
    assert_eq!((plain.tls.is_none(), plain.server.port), (true, 8080));
    assert_eq!(ask("tcp://h:7"), Ask::Tcp(Server { host: "h".to_owned(), port: 7 }));
    for url in ["dns:a.example", "dns://a.example"] {
        assert_eq!(target_of(url), "dns:a.example");
    }
    let Ask::Grpc(grpc) = ask("grpcs://h") else { panic!() };
    assert_eq!((grpc.authority.as_str(), grpc.server.port, grpc.tls.is_some()), ("h", 443, true));
}

#[test]
fn a_target_names_neither_user_nor_password_nor_query() {
    for (url, expected) in [
        ("postgres://u:pw@a:1,b/d?sslmode=disable", "postgres://a:1,b:5432/d"),
        ("postgres://u:pw@/d?host=/run/pg", "postgres:///d?host=/run/pg"),
        ("redis://u:pw@c/0", "redis://c:6379"),
        ("rediss://u:pw@c:1/3", "rediss://c:1/3"),
        ("unix:///run/r.sock?pass=pw", "unix:///run/r.sock"),
        ("redis+sentinel://u:pw@s/main", "redis+sentinel://s:26379/main"),
        ("mysql://u:pw@m/d?x=pw", "mysql://m:3306/d"),
        ("https://h/hook/pw?pw", "https://h"),
        ("http://h:81/pw", "http://h:81"),
        ("grpc://h:1", "grpc://h:1"),
    ] {
        assert_eq!(target_of(url), expected);
    }
}

#[test]
fn what_is_wrong_is_told_without_the_url() {
    for (url, expected) in [
        ("", "is no URL with a scheme that is known"),
        ("db:5432", "is no URL with a scheme that is known"),
        ("ftp://h", "is no URL with a scheme that is known"),
        ("postgres:h", "has no // behind its scheme"),
        ("postgres://h/d", "names no user"),
        ("postgres://u@h:0/d", "has no port from 1 to 65535"),
        ("postgres://u@h:x/d", "has no port from 1 to 65535"),
        ("postgres://u:1/w@h/d", AT),
        ("postgres://u:1?w@h/d", AT),
        ("redis://:1#w@h", AT),
        ("postgres://u@h!/d", "names a host with characters that no host's name has"),
        (
            "postgres://u:%zz@h/d",
            "holds a % without two hexadecimal digits behind it; % itself is written as %25",
        ),
        ("postgres://u:%4", "names no user"),
        ("postgres://u:%FF@h", "is not UTF-8 when its % are decoded"),
        ("postgres://u:%00@h", "holds control characters"),
        ("postgres://u@h/d?sslmode=on", "has an sslmode that libpq does not know"),
        ("postgres://u@[::1", "has a [ without a ]"),
        ("postgres://u@[h]/d", "has no IPv6 address between [ and ]"),
        ("postgres://u@[::1]x/d", "has something else than a port behind ]"),
        ("postgres:// u@h", "holds spaces or control characters"),
        ("mysql://u@", "names no host"),
        ("mysql://u@a,b/d", "names more than one host"),
        ("mysql://u@a/d?ssl-mode=x", "has an ssl-mode that MySQL does not know"),
        ("redis://h/x", "has a path that is not the number of a database, such as /0"),
        (
            "redis+sentinel://h",
            "does not name what the Sentinels watch, as in redis+sentinel://host:26379/mymaster",
        ),
        ("redis+sentinel:///main", "names no host of a Sentinel"),
        ("unix://h/x", "is not the absolute path of a socket, as in unix:///run/redis.sock"),
        ("tcp://h", "names no port"),
        ("tcp://h:1/x", "is more than a host and a port"),
        ("dns:a/b", "is not dns: and a name, as in dns:db.example.com"),
        ("https://u:p@h/", "holds a user name or a password, which such a probe does not take there"),
        ("grpc://h", "names no port"),
    ] {
        assert_eq!(parse(url, None).map_err(str::to_owned), Err(expected.to_owned()), "{url}");
    }
    assert_eq!(parse(&format!("postgres://u@{}", "h,".repeat(17)), None), Err("names more than 16 hosts"));
    assert_eq!(parse(&format!("postgres://u@h/{}", "d".repeat(4096)), None), Err("is too long"));
}

#[test]
fn what_is_encoded_is_decoded_to_the_same() {
    let text = "a b/@:?#%&=é\u{1F600}";
    assert_eq!(decoded(&encoded(text)), Ok(text.to_owned()));
}

#[test]
fn every_preset_parses_and_holds_what_is_well() {
    for (place, (name, url, status, _)) in PRESETS.iter().enumerate() {
        let http = preset(place);
        assert!(url.starts_with(&format!("https://{}/", http.authority)), "{name}");
        assert!(http.status.iter().zip(*status).all(|(range, status)| range.contains(status)), "{name}");
        assert_eq!(http.json.is_some(), *name == "slack");
    }
}
