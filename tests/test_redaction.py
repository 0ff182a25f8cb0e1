from __future__ import annotations

import json
import time
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from causalkit.redaction import mask_secrets, may_hold_secrets

# Put together at run time: scanners of repositories take them for real ones otherwise.
LETTERS = "aB3dE6gH9jKlMnOpQrStUvWxYz0123456789abcd"
JWT = "eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiIxMjM0NTY3ODkwIn0." + "dozjgNryP4J3jVmNHl0w5N"
BLOCK = "-----BEGIN RSA PRIVATE " + "KEY-----\nMIIEpAIBAAKCAQEA\nq83vEjRWeJA=\n-----END RSA PRIVATE " + "KEY-----"
KEYS = [
    "sk-" + LETTERS,
    "sk-" + "abcdefghijklmnopqrstuvwx",
    "sk-proj-" + LETTERS[:24],
    "sk-proj-" + "ab_cd-EF" * 6,
    "sk-ant-api03-" + LETTERS[:30],
    "sk-svcacct-" + LETTERS[:30],
    "sk-1234567890abcdef",
    "sk-test-1234567890",
    "AKIA" + "IOSFODNN7EXAMPLE",
    "ASIA" + "Y34FZKBOKMUTVV7A",
    "ghp_" + LETTERS[:36],
    "gho_" + LETTERS[:36],
    "ghu_" + LETTERS[:36],
    "ghs_" + LETTERS[:36],
    "ghr_" + LETTERS[:36],
    "github_pat_" + LETTERS[:22] + "_" + LETTERS,
    "glpat-" + LETTERS[:20],
    "xoxb-" + "123456789012-1234567890123-" + LETTERS[:24],
    "xoxp-" + "123456789012-" + LETTERS[:24],
    "AIza" + LETTERS[:35],
    "hf_" + "AbCdEfGhIjKlMnOpQrStUvWxYzAbCdEfGh",
    "sk_live_" + LETTERS[:24],
    "rk_live_" + LETTERS[:24],
    "sk_test_" + LETTERS[:24],
    "npm_" + LETTERS[:36],
    "pypi-AgEIcHlwaS5vcmc" + LETTERS,
]
MAILS = [
    "bob@example.org",
    "a.b+c@mail.example.co.uk",
    "o_k%x@x-y.io",
    "müller@exämple.de",
    "用户@例子.公司",
    "BOB@EXAMPLE.ORG",
]
# (text, what of it must be gone)
PLANTED = [
    *((key, key) for key in KEYS),
    *((mail, mail) for mail in MAILS),
    (JWT, JWT),
    (BLOCK, "MIIEpAIBAAKCAQEA"),
    (BLOCK.partition("-----END")[0], "q83vEjRWeJA"),
    ("Bearer abc123def456", "abc123def456"),
    ("bearer\tqwertyuiopasdfgh", "qwertyuiopasdfgh"),
    ("BEARER Ab.Cd_eF-gh~1", "Ab.Cd_eF-gh~1"),
    ("Basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
    ("basic YWxhZGRpbjpvcGVuc2VzYW1l", "YWxhZGRpbjpvcGVuc2VzYW1l"),
    ("Authorization: Token 9944b09199c62bcf", "9944b09199c62bcf"),
    ("Authorization: Bearer mytokenabc", "mytokenabc"),
    ("postgres://bob:hunter2@db.example.com:5432/x", "hunter2"),
    ("redis://:hunter2@localhost", "hunter2"),
    ("mongodb+srv://u:p%40ss@cluster0.mongodb.net", "p%40ss"),
    ("amqp://u:p@ss@host", "p@ss"),
    ("bob:hunter2@localhost", "hunter2"),
    ("root:hunter2@tcp(127.0.0.1:3306)/db", "hunter2"),
    ("bob:hunter2@10.0.0.7", "hunter2"),
    ("scott:tiger9@dbhost:1521", "tiger9"),
    ("password=hunter2", "hunter2"),
    ("Password: hunter2", "hunter2"),
    ("PASSWD = 'hunter2 with spaces'", "hunter2 with spaces"),
    ('{"password": "hun\\"ter2"}', "ter2"),
    ("{'db_password': 'hunter2'}", "hunter2"),
    ('{\\"password\\": \\"hunter2\\"}', "hunter2"),
    ("DB_PASSWORD=hunter2;x=1", "hunter2"),
    ("password='hunter2", "hunter2"),
    ("pwd=hunter2", "hunter2"),
    ("password=$ecretWord9", "ecretWord9"),
    ("'password' => 'hunter2'", "hunter2"),
    ("login(user='x', password='hunter2')", "hunter2"),
    ("api_key: abcdefg", "abcdefg"),
    ("apiKey=abcdefg", "abcdefg"),
    ("X-API-Key: abcdefg", "abcdefg"),
    ("https://x.org/?api-key=abcdefg&page=2", "abcdefg"),
    ("https://x.org/?token=abcdefg#top", "abcdefg"),
    ("access_token=abcdefg", "abcdefg"),
    ("refresh_token: abcdefg", "abcdefg"),
    ("client_secret=abcdefg", "abcdefg"),
    ("secret: s3cr3t", "s3cr3t"),
    ("AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCY"),
    ("Set-Cookie: sid=abcdefg; Path=/", "abcdefg"),
    ("Cookie: a=b; sid=abcdefg", "abcdefg"),
    ("credentials='abcdefg'", "abcdefg"),
    (f"line\\n{KEYS[0]}\\nline", KEYS[0]),
    (f"--token={KEYS[9]}", KEYS[9]),
    (f"({KEYS[0]})", KEYS[0]),
    (f"key:{KEYS[18]},", KEYS[18]),
    ("<bob@example.org>", "bob@example.org"),
    ("mailto:bob@example.org?subject=x", "bob@example.org"),
]
HARMLESS = [
    "task-runner", "risk-free", "disk-usage-of-the-whole-machine-1", "hf_hub_download", "@property", "a@b",
    "@app.route('/x')",
    "sk-learn", "sk-toggleable__label-arrow", "sk-container-id-1", "sk-container-id-123",
    "ask-me-anything-you-like-today-1234",
    "numpy 2.4.6", "v1.2.3-rc.1+build5", "react@18.2.0", "@types/node@18.0.0", "x@w.sum()", "q@k.transpose(-2, -1)",
    "A@B.T",
    "git@github.com:causal/kit.git", "https://example.org/a?b=c", "http://localhost:8888/tree",
    "http://[::1]:80/@home",
    "4f2a9c1de0b73a55", "e6d768fb-e1ec-496a-8e68-071338769a67",
    "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "sha256:9f86d081884c7d659a2feaa0c55ad015", "nginx:1.25@sha256:9f86d081", "2026-11-21T10:15:15.244927Z",
    "12:30@room",
    "max_tokens=500", "tokens: 812", "input_tokens=5, output_tokens=6", "token_count: 5", "time_to_first_token: 0.35",
    "cost_per_token=0.1", "pad_token='[PAD]'", "tokenizer = load()", "the secret: practice", "Token: a unit of text",
    "Basic understanding of physics", "basic research", "BASIC programming", "ball bearer", "bearer of bad news",
    "Bearer authentication", "Authorization: Bearer <token>", "def login(user: str, password: str) -> None:",
    "password = getpass.getpass()", 'api_key = os.environ["OPENAI_API_KEY"]', "api_key=None", "token == other",
    "password != given",
    "password={password}", "password: ***", "api_key=<your key>", "password=$PASSWORD", "password=${PASSWORD}",
    "forgot your password?", "passwordless login", "secretary: Ann", "keyboard: qwerty", "keywords=a,b", "key=value",
    "public_key: abc", "monkey=1", "cookie recipe", "Cookie: chocolate", "Asia", "AKIRA", "GITHUB_ACTIONS",
    "npm_config_cache",
    "pypi-publish-action-workflow", "eyJ", "xoxo", "author: Bob", "session 5", "[masked: e-mail]",
    "[masked: api key]: x",
    "", "def f(x):\n    return x @ w", "2 * 3 = 6", "-----BEGIN CERTIFICATE-----",
]  # fmt: skip
SECRET_NAMES = [
    "password", "Password", "passwd", "secret", "token", "api_key", "apikey", "apiKey", "API-KEY", "x-api-key",
    "authorization",
    "Authorization", "access_token", "accessToken", "refresh_token", "client_secret", "private_key", "privateKey",
    "cookie",
    "set-cookie", "session_token", "credentials", "DB_PASSWORD", "aws_secret_access_key", "github token",
]  # fmt: skip
HARMLESS_NAMES = [
    "tokens", "max_tokens", "token_count", "input_tokens", "output_tokens", "time_to_first_token", "per_token",
    "pad_token",
    "key", "monkey", "keywords", "author", "session_id", "public_key", "secretary", "passed", "tokenizer", "basic",
    "cookies_seen",
]  # fmt: skip

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
pieces = st.sampled_from(
    [text for text, _ in PLANTED]
    + HARMLESS
    + SECRET_NAMES
    + HARMLESS_NAMES
    + list('"\\\n\t :=;,@[](){}<>&/')
    + ["\\n", '\\"', ": "]
)
mixtures = st.lists(pieces | texts, max_size=6).map("".join)
recased = st.tuples(mixtures, st.sampled_from([str, str.upper, str.lower, str.swapcase])).map(
    lambda pair: pair[1](pair[0])
)
names = recased | st.sampled_from(SECRET_NAMES + HARMLESS_NAMES)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | recased,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=5,
)
records = st.dictionaries(names, values, max_size=4)


def masked(text: str) -> str:
    return str(mask_secrets({"text": text})["text"])


def test_the_tables_are_large_enough() -> None:
    assert len(PLANTED) >= 60
    assert len(HARMLESS) >= 60


@pytest.mark.parametrize(("text", "secret"), PLANTED)
def test_a_secret_is_masked_wherever_it_stands(text: str, secret: str) -> None:
    for frame in ["{}", "so: {} and on", "a\n{}\nb", 'said "{}" twice', "'{}'", "({})", "x\\n{}\\ny"]:
        found = masked(frame.replace("{}", text))
        assert secret not in found
        assert "[masked: " in found


@pytest.mark.parametrize(("text", "secret"), PLANTED)
def test_a_secret_is_masked_in_keys_and_depths(text: str, secret: str) -> None:
    found = mask_secrets({text: 1, "steps": [{"attributes": {"pages": [[text]], text: {}}}], "request_id": text})
    assert json.dumps(secret, ensure_ascii=False)[1:-1] not in json.dumps(found, ensure_ascii=False)


@pytest.mark.parametrize("text", HARMLESS)
def test_a_harmless_text_stays(text: str) -> None:
    assert masked(text) == text
    assert masked(f"so {text} and on") == f"so {text} and on"


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_every_value_under_a_secret_name_is_masked(name: str) -> None:
    for value in ("abc", 12.5, ["abc"], {"a": "abc"}):
        [found] = mask_secrets({name: value}).values()
        # How many credentials there were is no secret.
        assert found in ("[masked: secret]", "[masked: api key]") or (name == "credentials" and value == 12.5)


@pytest.mark.parametrize("name", HARMLESS_NAMES)
def test_a_value_under_a_harmless_name_stays(name: str) -> None:
    for value in ("abc", 12345, ["abc"]):
        assert mask_secrets({name: value}) == {name: value}


@pytest.mark.parametrize("value", [None, "", True, "[masked: secret]"])
def test_nothing_is_masked_where_there_is_nothing(value: Any) -> None:
    assert mask_secrets({"password": value}) == {"password": value}


def test_the_mark_says_what_was_masked() -> None:
    assert masked(f"bob@x.org {KEYS[0]} Bearer abc123 {JWT}") == (
        "[masked: e-mail] [masked: api key] Bearer [masked: bearer token] [masked: bearer token]"
    )
    assert mask_secrets({"authorization": "Bearer abc", "api_key": "x", "password": "y"}) == {
        "authorization": "[masked: bearer token]",
        "api_key": "[masked: api key]",
        "password": "[masked: secret]",
    }
    assert masked("postgres://bob:pw@db/x?a=1") == "postgres://[masked: secret]@db/x?a=1"
    assert masked("say password='x y', then") == "say password='[masked: secret]', then"


def test_two_masked_keys_stay_two() -> None:
    found = mask_secrets({"a@x.org": 1, "b@x.org": 2})
    assert found == {"[masked: e-mail]": 1, "[masked: e-mail] (2)": 2}


def test_the_record_itself_is_left_alone() -> None:
    record = {"attributes": {"to": ["bob@x.org"]}}
    mask_secrets(record)
    assert record == {"attributes": {"to": ["bob@x.org"]}}


@given(record=records)
def test_masking_twice_is_masking_once(record: dict[str, Any]) -> None:
    once = mask_secrets(record)
    assert mask_secrets(once) == once


@given(record=records)
def test_a_record_that_is_not_suspected_holds_nothing_to_mask(record: dict[str, Any]) -> None:
    if not may_hold_secrets(msgspec.json.encode(record)) or not may_hold_secrets(json.dumps(record).encode()):
        assert mask_secrets(record) == record


@pytest.mark.parametrize(("text", "secret"), PLANTED)
def test_every_planted_secret_is_suspected(text: str, secret: str) -> None:
    assert may_hold_secrets(msgspec.json.encode({"a": f'"{text}"'}))


def test_a_step_with_counts_of_tokens_is_not_suspected() -> None:
    record = {
        "kind": "step", "request_id": "4f2a9c1de0b73a55", "step_name": "web_search", "start": "2026-11-21T10:15:15Z",
        "latency_ms": 1.5, "attributes": {"input_tokens": 5, "output_tokens": 7, "model": "small-7b",
        "keywords": ["risk"]},
    }  # fmt: skip
    assert not may_hold_secrets(msgspec.json.encode(record))


@pytest.mark.parametrize(
    "unit",
    [
        "a", "@", "a@", "a.", "a@b.", "password ", 'password="', 'pwd="\\', "sk-", "sk-a", "a-", "eyJaaaaaa.",
        "://a:", "bearer ",
        "basic ", "basic A", "token: ", "token:", "password=a.a(", "password=,)", "cookie: a=", "a:b@",
        "password\\", "token=<",
        "[masked: api key]: ", "-----BEGIN PRIVATE " + "KEY-----", "password= ", "Aa0+/",
    ],
)  # fmt: skip
def test_a_megabyte_made_to_hurt_is_masked_within_a_second(unit: str) -> None:
    text = unit * (1_000_000 // len(unit)) + "@x key: eyJ sk- bearer basic"
    began = time.process_time()
    masked(text)
    assert time.process_time() - began < 1
