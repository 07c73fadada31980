//! `easel config check` and `show`: the layers, and what is said about a setting that cannot be.

#![cfg(test)]

use std::path::Path;
use std::process::{Command, Output};

/// Runs `easel` with these variables and no others.
fn easel(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_easel"))
        .args(arguments)
        .env_clear()
        .env("HOME", "/home/nobody-here")
        .envs(variables.iter().copied())
        .output()
        .expect("easel runs")
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What is said when the settings are refused.
#[track_caller]
fn refused(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn file(folder: &Path, text: &str) -> String {
    let path = folder.join("my.toml");
    std::fs::write(&path, text).expect("written");
    path.display().to_string()
}

#[test]
fn the_defaults_are_good() {
    let output = easel(&["config", "check"], &[]);
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn the_environment_wins_over_the_file_and_the_file_over_the_defaults() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = file(
        folder.path(),
        "[routing]\nstrict = true\ndeadline = \"7s\"\n[providers.openai]\npriority = 9\nconfig.api_key.env = \"MY_KEY\"\n",
    );
    let environment = [
        ("EASEL_CONFIG", path.as_str()),
        ("EASEL_ROUTING__DEADLINE", "1m30s"),
        ("EASEL_ROUTING__DEFAULT_PROVIDER", "openai"),
        ("EASEL_PROVIDERS__OPENAI__CONFIG__BASE_URL", "http://127.0.0.1:9/v1"),
        ("MY_KEY", "canary-7f3a"),
    ];
    let output = easel(&["config", "show", "--origin"], &environment);
    let shown = stdout(&output);
    for line in [
        format!("routing.strict = true  # {path}"),
        "routing.deadline = \"1m30s\"  # EASEL_ROUTING__DEADLINE".to_owned(),
        "routing.default_provider = \"openai\"  # EASEL_ROUTING__DEFAULT_PROVIDER".to_owned(),
        format!("providers.openai.priority = 9  # {path}"),
        "providers.openai.kind = \"openai_compat\"  # the defaults".to_owned(),
        "providers.openai.config.base_url = \"http://127.0.0.1:9/v1\"  # EASEL_PROVIDERS__OPENAI__CONFIG__BASE_URL"
            .to_owned(),
        format!("providers.openai.config.api_key = {{\"env\":\"MY_KEY\"}}  (set)  # {path}"),
        "server.json_limit = \"25 MiB\"  # the defaults".to_owned(),
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line}\nis not in\n{shown}");
    }
    assert!(!shown.contains("canary-7f3a"), "{shown}");
    let json: serde_json::Value =
        serde_json::from_slice(&easel(&["config", "show", "--json"], &environment).stdout).expect("JSON");
    assert_eq!(json["providers.openai.config.api_key"]["set"], true);
    assert_eq!(json["routing.strict"]["origin"], path);
}

#[test]
fn what_cannot_be_is_said_with_its_key_its_origin_and_the_nearest() {
    let folder = tempfile::tempdir().expect("a folder");
    let said = |name: &str, value: &str| refused(&easel(&["config", "check"], &[(name, value)]));
    for (name, value, parts) in [
        ("EASEL_ROUTING__STRCT", "true", &["routing.strct: unknown key", "`strict`", "EASEL_ROUTING__STRCT"][..]),
        ("EASEL_ROUTNG__STRICT", "true", &["routng: unknown key", "`routing`"]),
        ("EASEL_ROUTING_STRICT", "true", &["EASEL_ROUTING_STRICT is not a setting", "EASEL_ROUTING__STRICT"]),
        ("EASEL_ROUTING__DEADLINE", "5 parsecs", &["routing.deadline", "\"60s\"", "EASEL_ROUTING__DEADLINE"]),
        ("EASEL_ROUTING__DEADLINE", "0s", &["routing.deadline: must be longer", "EASEL_ROUTING__DEADLINE"]),
        ("EASEL_PROVIDERS__LOCAL__POLICY__DEADLINE", "0s", &["providers.local.policy.deadline: must be longer"]),
        ("EASEL_PROVIDERS__LOCAL__POLICY__DEADLINE", "5 parsecs", &["providers.local.policy.deadline", "\"60s\""]),
        ("EASEL_ROUTING__FALLBACK", "maybe", &["routing.fallback", "auto, never"]),
        ("EASEL_SERVER__ADDRESS", "here", &["server.address: `here` is no address", "EASEL_SERVER__ADDRESS"]),
        ("EASEL_SERVER__JSON_LIMIT", "1 MB", &["server.json_limit", "MiB"]),
        ("EASEL_SERVER__PUBLIC_URL", "pictures.example.org", &["server.public_url", "such as \"https://"]),
        ("EASEL_STORAGE__PICTURE_TTL", "0s", &["storage.picture_ttl: must be longer"]),
        ("EASEL_FETCH__MAX_BYTES", "20 MB", &["fetch.max_bytes", "MiB"]),
        ("EASEL_FETCH__TIMEOUT", "0s", &["fetch.timeout: must be longer"]),
        ("EASEL_FETCH__MAX_REDIRECTS", "21", &["fetch.max_redirects: must be at most 20"]),
        (
            "EASEL_FETCH__ALLOWED_ORIGINS",
            "[\"http://10.0.0.7:9000\", \"http://10.0.0.7:9000/pictures\"]",
            &["fetch.allowed_origins: entry 2 is no origin", "EASEL_FETCH__ALLOWED_ORIGINS", "such as"],
        ),
        ("EASEL_LIMITS__BURST", "0", &["limits.burst: must be at least 1"]),
        (
            "EASEL_PROVIDERS__NEW__KIND",
            "opnai_compat",
            &["providers.new.kind", "`openai_compat`", "EASEL_PROVIDERS__NEW__KIND"],
        ),
        ("EASEL_PROVIDERS__NEW__PRIORITY", "3", &["providers.new.kind: missing", "enabled = false"]),
        ("EASEL_PROVIDERS__OPENAI__POLICY__ATTEMPTS", "11", &["providers.openai.policy.attempts", "from 1 to 10"]),
        ("EASEL_PROVIDERS__OPENAI__CONFIG__BASE_URI", "x", &["providers.openai.config.base_uri", "base_url"]),
        ("EASEL_ROUTING__DEFAULT_PROVIDER", "opnai", &["routing", "opnai"]),
        (
            "EASEL_COSTS__PRICES",
            "/nowhere/p.toml",
            &["costs.prices: cannot read /nowhere/p.toml", "EASEL_COSTS__PRICES"],
        ),
    ] {
        let said = said(name, value);
        for part in parts {
            assert!(said.contains(part), "{name}={value}\nsays: {said}\nbut not: {part}");
        }
    }
    let path = file(folder.path(), "[server]\nadress = \"127.0.0.1:1\"\n");
    let said = refused(&easel(&["config", "check", "--config", &path], &[]));
    assert_eq!(said, format!("easel: server.adress: unknown key (from {path}); did you mean `address`?\n"));
    let path = file(folder.path(), "[server\n");
    let said = refused(&easel(&["config", "check", "--config", &path], &[]));
    assert!(said.contains("line 1") && said.contains(&path), "{said}");
    let said = refused(&easel(&["serve", "--config", "/nowhere/easel.toml"], &[]));
    assert!(said.contains("/nowhere/easel.toml"), "{said}");
}

#[test]
fn a_secret_in_the_wrong_place_is_refused_without_being_repeated() {
    for name in [
        "EASEL_SERVER__ADMIN_TOKEN",
        "EASEL_PROVIDERS__OPENAI__CONFIG__API_KEY",
        "EASEL_PROVIDERS__OPENAI__CONFIG__API_KEYS",
    ] {
        for secret in ["sk-canary-91c2", "9127364590", "{ value = \"sk-canary-91c2\" }", "{ env = \"sk-canary-91c2\" }"]
        {
            let said = refused(&easel(&["config", "check"], &[(name, secret)]));
            assert!(said.contains("{ env = \"NAME\" }"), "{said}");
            assert!(!said.contains("canary") && !said.contains("9127364590"), "{said}");
            let shown = stdout(&easel(&["config", "show"], &[(name, secret)]));
            assert!(!shown.contains("9127364590"), "{shown}");
        }
    }
}

#[test]
fn several_keys_stand_in_the_place_of_one_and_are_shown_by_their_names() {
    let folder = tempfile::tempdir().expect("a folder");
    let path =
        file(folder.path(), "[providers.openai.config]\napi_keys = [{ env = \"KEY_A\" }, { env = \"KEY_B\" }]\n");
    let environment = [("EASEL_CONFIG", path.as_str()), ("KEY_A", "canary-1a"), ("KEY_B", "canary-2b")];
    assert!(easel(&["config", "check"], &environment).status.success());
    let shown = stdout(&easel(&["config", "show"], &environment));
    let line = "providers.openai.config.api_keys = [{\"env\":\"KEY_A\"},{\"env\":\"KEY_B\"}]  (set)";
    assert!(shown.lines().any(|shown| shown == line), "{shown}");
    let one_unset = stdout(&easel(&["config", "show"], &environment[..2]));
    assert!(one_unset.contains("{\"env\":\"KEY_B\"}]  (not set)"), "{one_unset}");
    assert!(!shown.contains("canary"), "{shown}");
    let keys = |value: &str| {
        let output = easel(&["config", "check"], &[("EASEL_PROVIDERS__OPENAI__CONFIG__API_KEYS", value)]);
        refused(&output)
    };
    assert!(keys("[{ env = \"A\" }, { env = \"A\" }]").contains("it names A twice"));
    assert!(keys("[]").contains("it names no key"));
    let listed = keys("[\"sk-canary-91c2\"]");
    assert!(listed.contains("{ env = \"NAME\" }") && !listed.contains("canary"), "{listed}");
    let set = [("EASEL_PROVIDERS__OPENAI__CONFIG__API_KEYS", "[\"sk-canary-91c2\"]")];
    let shown = stdout(&easel(&["config", "show"], &set));
    assert!(!shown.contains("canary"), "{shown}");
}

#[test]
fn what_a_policy_cannot_be_is_said_with_its_key() {
    for (key, value, part) in [
        ("BURST", "0", "policy.burst: must be at least 1"),
        ("BREAKER__RATIO", "1.5", "policy.breaker.ratio: must be from 0 to 1"),
        ("BREAKER__RATIO", "-1", "policy.breaker.ratio: must be from 0 to 1"),
        ("BREAKER__WINDOW", "0s", "policy.breaker.window: must be longer than nothing"),
        ("BREAKER__MIN_REQUESTS", "0", "policy.breaker.min_requests: must be at least 1"),
        ("BREAKER__COOLDOWN", "0s", "policy.breaker.cooldown: must be longer than nothing"),
        ("BREAKER__MAX_COOLDOWN", "1s", "policy.breaker.max_cooldown: must be at least cooldown"),
        ("BREAKER__FAILURE", "3", "did you mean `failures`?"),
        ("MAX_WAIT", "5", "policy.max_wait"),
        ("ON_DISCONNECT", "maybe", "cancel, finish"),
    ] {
        let name = format!("EASEL_PROVIDERS__OPENAI__POLICY__{key}");
        let said = refused(&easel(&["config", "check"], &[(&name, value)]));
        assert!(said.contains(part), "{name}={value}\nsays: {said}");
    }
    let good = [
        ("EASEL_PROVIDERS__OPENAI__POLICY__BREAKER__RATIO", "1"),
        ("EASEL_PROVIDERS__OPENAI__POLICY__BREAKER__FAILURES", "0"),
        ("EASEL_PROVIDERS__OPENAI__POLICY__REQUESTS_PER_MINUTE", "50"),
        ("EASEL_PROVIDERS__OPENAI__POLICY__ON_DISCONNECT", "finish"),
    ];
    let output = easel(&["config", "check"], &good);
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn a_disabled_section_needs_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let enabled = |arguments: &[&str]| {
        let said = stdout(&easel(arguments, &[]));
        let count = said.strip_prefix("the settings are good: ").and_then(|said| said.split_once(' '));
        count.and_then(|(count, _)| count.parse::<u32>().ok()).unwrap_or_else(|| panic!("{said}"))
    };
    let path = file(folder.path(), "[providers.local]\nenabled = false\n[providers.other]\nenabled = false\n");
    assert_eq!(enabled(&["config", "check", "--config", &path]), enabled(&["config", "check"]) - 1);
}

#[test]
fn an_address_in_use_is_an_error_and_no_crash() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let said = refused(&easel(&["serve", "--listen", &address], &[("EASEL_LOG__LEVEL", "off")]));
    assert!(said.contains(&format!("cannot listen on {address}")), "{said}");
    let said = refused(&easel(&["healthcheck", "--address", "127.0.0.1:1"], &[]));
    assert!(said.contains("127.0.0.1:1"), "{said}");
}
