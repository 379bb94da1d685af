//! Signatures: who stands for an artifact, and what becomes of one that somebody has touched.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use seaworthy::artifact::{Artifact, SigningKey, Trust};
use seaworthy::startup::load_trusted;

use super::helpers::{Copy, graph, open, sha256};
use crate::fault::fault;

/// A small artifact, signed by a fresh key, and who trusts that key.
fn signed() -> (Copy, SigningKey, Trust) {
    let copy = Copy::of_house_prices();
    copy.shrink();
    let key = SigningKey::create(&copy.tmp().join("release.pem")).unwrap();
    key.sign(&Artifact::open(copy.dir()).unwrap()).unwrap();
    let trust = Trust::new(&[format!("release {}", key.public())], true).unwrap();
    (copy, key, trust)
}

fn load(copy: &Copy, trust: &Trust) -> Result<(), String> {
    open();
    load_trusted(copy.dir(), trust)
        .map(drop)
        .map_err(|error| error.to_string().replace(copy.tmp().to_str().unwrap(), "<tmp>"))
}

#[test]
fn a_signed_artifact_is_served_where_signatures_are_required() {
    let (copy, key, trust) = signed();
    assert_eq!(load(&copy, &trust), Ok(()));
    let artifact = Artifact::open(copy.dir()).unwrap();
    assert_eq!(artifact.signatures(), [key.public()]);
    assert_eq!(trust.names(&artifact), ["release"]);
    // The key is only its owner's, and read back it is the same.
    use std::os::unix::fs::PermissionsExt as _;
    let path = copy.tmp().join("release.pem");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let again = SigningKey::open(&path).unwrap();
    assert_eq!(again.public(), key.public());
    assert!(SigningKey::create(&path).is_err(), "a key is never overwritten");
    // Nothing of the private key is shown.
    let secret = std::fs::read_to_string(&path).unwrap();
    let secret = secret.lines().nth(1).unwrap();
    assert!(!format!("{again:?}").contains(&secret[24..]));
    // Signed twice is signed once; signed by two is signed by both.
    again.sign(&artifact).unwrap();
    let other = SigningKey::create(&copy.tmp().join("other.pem")).unwrap();
    other.sign(&artifact).unwrap();
    assert_eq!(Artifact::open(copy.dir()).unwrap().signatures(), [key.public(), other.public()]);
    assert_eq!(load(&copy, &trust), Ok(()));
}

#[test]
fn an_unsigned_artifact_and_one_of_a_stranger_are_refused_where_signatures_are_required() {
    let (copy, _, trust) = signed();
    let stranger = SigningKey::create(&copy.tmp().join("stranger.pem")).unwrap();
    copy.write("SIGNATURES", "");
    std::fs::remove_file(copy.path("SIGNATURES")).unwrap();
    let refusal = load(&copy, &trust).unwrap_err();
    assert_eq!(
        refusal,
        "`<tmp>/house-prices/3.2.0` is not trusted: it is not signed; `models.require_signature` asks for a signature by one of: release"
    );
    stranger.sign(&Artifact::open(copy.dir()).unwrap()).unwrap();
    let refusal = load(&copy, &trust).unwrap_err();
    assert!(refusal.contains(&format!("it is signed only by {}", stranger.public())), "{refusal}");
    // Where they are not required, both are served.
    assert_eq!(load(&copy, &Trust::default()), Ok(()));
    // So is a bare graph, which nobody can have signed.
    let bare = copy.tmp().join("bare.onnx");
    std::fs::write(&bare, graph("bare_torch.onnx")).unwrap();
    let error = load_trusted(&bare, &trust).unwrap_err().to_string();
    assert!(error.contains("is not signed"), "{error}");
    fault!(
        "An unsigned artifact, or a stranger's, where signatures are required",
        "signature removed, made by another key; a bare graph",
        "refused, says who signed and who is known",
        "as expected"
    );
}

/// Whoever changes a file and makes all hashes right again has still not signed it.
#[test]
fn a_signed_artifact_that_somebody_has_changed_is_refused_also_where_nobody_asks_for_signatures() {
    let (copy, _, trust) = signed();
    let files =
        ["manifest.json", "golden.jsonl", "profile.json", "model.onnx", "SHA256SUMS", "SIGNATURES"];
    let seal = |copy: &Copy| {
        let list: String = ["golden.jsonl", "manifest.json", "model.onnx", "profile.json"]
            .iter()
            .map(|name| format!("{}  {name}\n", sha256(&copy.read(name))))
            .collect();
        copy.write("SHA256SUMS", list);
    };
    seal(&copy);
    let key = SigningKey::open(&copy.tmp().join("release.pem")).unwrap();
    std::fs::remove_file(copy.path("SIGNATURES")).unwrap();
    key.sign(&Artifact::open(copy.dir()).unwrap()).unwrap();
    for file in files {
        let whole = copy.read(file);
        for at in [0, whole.len() / 2, whole.len() - 3] {
            let mut spoiled = whole.clone();
            spoiled[at] ^= 1;
            copy.write(file, &spoiled);
            for trust in [&trust, &Trust::default()] {
                assert!(load(&copy, trust).is_err(), "byte {at} of {file}");
            }
            if !file.starts_with('S') {
                seal(&copy);
                let refusal = Artifact::open(copy.dir()).unwrap_err().to_string();
                // The manifest may be no JSON any more; if it is, the signature is what is wrong.
                let is_signature = refusal.contains("is not one of this SHA256SUMS");
                assert!(is_signature || file == "manifest.json", "byte {at} of {file}: {refusal}");
            }
        }
        copy.write(file, &whole);
        seal(&copy);
        assert_eq!(load(&copy, &trust), Ok(()), "{file}");
    }
    // The signature of another artifact.
    let other = Copy::of_house_prices();
    key.sign(&Artifact::open(other.dir()).unwrap()).unwrap();
    let theirs = other.read("SIGNATURES");
    copy.write("SIGNATURES", theirs);
    assert!(load(&copy, &Trust::default()).unwrap_err().contains("is not one of this SHA256SUMS"));
    fault!(
        "A signed artifact changed, all hashes made right again",
        "bytes flipped in each file, list sealed again; signature of another artifact",
        "refused, also where signatures are not required",
        "as expected"
    );
}

#[test]
fn a_file_of_signatures_that_is_none_is_refused() {
    let (copy, _, _) = signed();
    let good = String::from_utf8(copy.read("SIGNATURES")).unwrap();
    let [_, key, signature] = good.trim().split(' ').collect::<Vec<_>>()[..] else {
        panic!("{good}")
    };
    let mut shown = String::new();
    for (name, text) in [
        ("empty", Vec::new()),
        ("not text", vec![0xff, 0xfe]),
        ("an empty line", b"\n".to_vec()),
        ("another algorithm", format!("rsa {key} {signature}\n").into_bytes()),
        ("a word too many", format!("ed25519 {key} {signature} x\n").into_bytes()),
        ("two spaces", format!("ed25519  {key} {signature}\n").into_bytes()),
        ("a short key", format!("ed25519 {} {signature}\n", STANDARD.encode([1; 31])).into_bytes()),
        ("a short signature", format!("ed25519 {key} {}\n", STANDARD.encode([1; 63])).into_bytes()),
        (
            "a key of zeros",
            format!("ed25519 {} {signature}\n", STANDARD.encode([0; 32])).into_bytes(),
        ),
        (
            "a good one and a wrong one",
            format!("{good}ed25519 {key} {}\n", STANDARD.encode([1; 64])).into_bytes(),
        ),
        ("seventeen", good.repeat(17).into_bytes()),
        ("a megabyte", good.repeat(10_000).into_bytes()),
    ] {
        copy.write("SIGNATURES", text);
        let refusal = load(&copy, &Trust::default()).unwrap_err().replace(key, "<key>");
        shown.push_str(&format!("{name}\n    {refusal}\n"));
    }
    std::fs::remove_file(copy.path("SIGNATURES")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", copy.path("SIGNATURES")).unwrap();
    shown.push_str(&format!(
        "a link that leads out\n    {}\n",
        load(&copy, &Trust::default()).unwrap_err()
    ));
    std::fs::remove_file(copy.path("SIGNATURES")).unwrap();
    std::os::unix::fs::symlink("nowhere", copy.path("SIGNATURES")).unwrap();
    shown.push_str(&format!(
        "a link that leads nowhere\n    {}\n",
        load(&copy, &Trust::default()).unwrap_err()
    ));
    std::fs::remove_file(copy.path("SIGNATURES")).unwrap();
    let list = String::from_utf8(copy.read("SHA256SUMS")).unwrap();
    copy.write("SIGNATURES", &good);
    copy.write("SHA256SUMS", format!("{list}{}  SIGNATURES\n", sha256(good.as_bytes())));
    shown.push_str(&format!("it is listed\n    {}\n", load(&copy, &Trust::default()).unwrap_err()));
    insta::assert_snapshot!(shown);
    fault!(
        "A file of signatures that is none",
        "empty, not text, wrong words, short keys, 17 lines, a megabyte, links, listed in SHA256SUMS",
        "refused with line and reason",
        "as expected"
    );
}

/// RFC 8032, 7.1, test 1: the key that belongs to a secret, as PKCS#8.
#[test]
fn a_key_is_what_the_standard_says() {
    let tmp = tempfile::tempdir().unwrap();
    let path = tmp.path().join("key.pem");
    let secret = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
    let bytes = |hex: &str| {
        (0..hex.len() / 2)
            .map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap())
            .collect::<Vec<_>>()
    };
    let der = [bytes("302e020100300506032b657004220420"), bytes(secret)].concat();
    let pem = format!(
        "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
        STANDARD.encode(der)
    );
    std::fs::write(&path, pem).unwrap();
    let public = bytes("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
    assert_eq!(
        SigningKey::open(&path).unwrap().public().to_string(),
        format!("ed25519:{}", STANDARD.encode(public))
    );
    for wrong in [
        "",
        "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n",
        "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n",
    ] {
        std::fs::write(&path, wrong).unwrap();
        let error = SigningKey::open(&path).unwrap_err().to_string();
        assert!(error.contains("holds no private key for ed25519"), "{error}");
    }
}

#[test]
fn an_artifact_of_too_many_files_is_refused() {
    let copy = Copy::of_house_prices();
    copy.shrink();
    let list = String::from_utf8(copy.read("SHA256SUMS")).unwrap();
    let line = format!("{}  x/{{}}\n", sha256(b""));
    std::fs::create_dir(copy.path("x")).unwrap();
    let mut long = list;
    for at in 0..1001 {
        copy.write(&format!("x/{at}"), "");
        long.push_str(&line.replace("{}", &at.to_string()));
    }
    assert!(load(&copy, &Trust::default()).unwrap_err().contains("holds more than 1000 files"));
    copy.write("SHA256SUMS", long);
    assert!(load(&copy, &Trust::default()).unwrap_err().contains("lists more than 1000 files"));
    fault!(
        "An artifact without end",
        "1001 files; manifest or list of a terabyte (sparse)",
        "refused at the bound, not read whole",
        "as expected"
    );
}

/// A sparse file costs its maker nothing.
#[test]
fn a_manifest_or_a_list_without_end_is_refused() {
    for (file, length) in [("SHA256SUMS", 1_u64 << 40), ("manifest.json", 1 << 40)] {
        let copy = Copy::of_house_prices();
        std::fs::File::create(copy.path(file)).unwrap().set_len(length).unwrap();
        let refusal = load(&copy, &Trust::default()).unwrap_err();
        assert!(refusal.contains(file) && refusal.contains("it is longer than"), "{refusal}");
    }
}
