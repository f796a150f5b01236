//! Files one by one and all together: the archive holds what the API shows, byte by byte.

use std::{
    collections::BTreeMap,
    io::{Cursor, Read},
};

use axum::http::StatusCode;
use buildfleet::{
    domain::{id::BuildId, plan::Draft},
    draw,
    store::Adoption,
};
use serde_json::json;
use sha2::{Digest, Sha256};
use zip::ZipArchive;

use crate::scene::Scene;

const FILES: [(&str, &str); 4] = [
    ("app/main.py", "print('hello')\n"),
    ("docs/Über uns 100%.md", "# Wir\n"),
    ("index.html", "<script>alert(1)</script>\n"),
    ("package.json", "{\"name\": \"x\"}\n"),
];

async fn built(scene: &Scene) -> BuildId {
    let build = scene.submitted().await;
    let mut draft = Draft::of("write");
    draft.tasks[0].writes = FILES.iter().map(|(path, _)| (*path).to_owned()).collect();
    scene.plan_draft(build, draft, Adoption::AtOnce { plan: draw::id() }).await;
    scene.succeed(build, "write", &FILES).await;
    build
}

fn encoded(path: &str) -> String {
    path.bytes()
        .map(|byte| match byte {
            b'/' | b'.' | b'a'..=b'z' | b'A'..=b'Z' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect()
}

#[tokio::test]
async fn a_listing_names_every_file_with_its_size_and_hash() {
    let scene = Scene::new().await;
    let build = built(&scene).await;

    let listed = scene.get(&format!("/v1/builds/{build}/files")).await.json();

    assert_eq!(listed["total_files"], 4);
    let size: usize = FILES.iter().map(|(_, content)| content.len()).sum();
    assert_eq!(listed["total_size"], size);
    let file = &listed["files"][0];
    assert_eq!((&file["path"], &file["language"]), (&json!("app/main.py"), &json!("python")));
    assert_eq!(file["sha256"], hex::encode(Sha256::digest(FILES[0].1)));
    assert_eq!(file["task_id"], scene.task(build, "write").await.to_string());
}

#[tokio::test]
async fn a_file_is_given_as_it_was_written_and_never_as_a_page() {
    let scene = Scene::new().await;
    let build = built(&scene).await;

    for (path, content) in FILES {
        let answer = scene.get(&format!("/v1/builds/{build}/files/{}", encoded(path))).await;

        assert_eq!((answer.status, answer.text()), (StatusCode::OK, content.to_owned()), "{path}");
        let kind =
            if path.ends_with("json") { "application/json" } else { "text/plain; charset=utf-8" };
        assert_eq!(answer.header("content-type"), kind);
        assert_eq!(answer.header("etag"), format!("\"{}\"", hex::encode(Sha256::digest(content))));
        assert_eq!(answer.header("content-security-policy"), "default-src 'none'; sandbox");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
    }
    let slash = scene.get(&format!("/v1/builds/{build}/files/app%2Fmain.py")).await;
    assert_eq!(slash.text(), FILES[0].1);
}

#[tokio::test]
async fn a_path_that_is_not_there_is_not_found_whatever_it_looks_like() {
    let scene = Scene::new().await;
    let build = built(&scene).await;

    for path in [
        "app",
        "app/",
        "app/main.py/",
        "no.py",
        "%00",
        "..%2Fapp%2Fmain.py",
        "%ff",
        "app%2F%2Fmain.py",
    ] {
        let answer = scene.get(&format!("/v1/builds/{build}/files/{path}")).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (StatusCode::NOT_FOUND, "not_found"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn what_one_has_is_not_sent_again() {
    let scene = Scene::new().await;
    let build = built(&scene).await;

    for path in ["files/app/main.py", "archive"] {
        let path = format!("/v1/builds/{build}/{path}");
        let tag = scene.get(&path).await.header("etag").to_owned();

        for known in [tag.clone(), format!("W/{tag}"), format!("\"x\", {tag}"), "*".to_owned()] {
            let answer = scene.get_with(&path, &[("if-none-match", &known)]).await;
            assert_eq!(
                (answer.status, answer.body.len()),
                (StatusCode::NOT_MODIFIED, 0),
                "{known}"
            );
            assert_eq!(answer.header("etag"), tag);
        }
        assert_eq!(
            scene.get_with(&path, &[("if-none-match", "\"x\"")]).await.status,
            StatusCode::OK
        );
    }
}

#[tokio::test]
async fn the_archive_holds_exactly_the_files_and_its_manifest_holds() {
    let scene = Scene::new().await;
    let build = built(&scene).await;

    let answer = scene.get(&format!("/v1/builds/{build}/archive")).await;
    let again = scene.get(&format!("/v1/builds/{build}/archive")).await;

    assert_eq!(answer.body, again.body);
    assert_eq!(answer.header("content-type"), "application/zip");
    assert_eq!(
        answer.header("content-disposition"),
        format!("attachment; filename=\"project-{build}.zip\"")
    );
    let mut archive = ZipArchive::new(Cursor::new(answer.body)).unwrap();
    let mut entries = BTreeMap::new();
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        entries.insert(entry.name().unwrap().into_owned(), content);
    }
    let manifest = String::from_utf8(entries.remove("MANIFEST.sha256").unwrap()).unwrap();
    let listed = scene.get(&format!("/v1/builds/{build}/files")).await.json();
    let mut lines = manifest.lines();
    for file in listed["files"].as_array().unwrap() {
        let path = file["path"].as_str().unwrap();
        let shown = scene.get(&format!("/v1/builds/{build}/files/{}", encoded(path))).await.body;
        let packed = entries.remove(path).unwrap();
        assert_eq!(packed, shown, "{path}");
        assert_eq!(
            lines.next().unwrap(),
            format!("{}  {path}", hex::encode(Sha256::digest(&packed)))
        );
    }
    assert_eq!((entries.len(), lines.next()), (0, None));
}

#[tokio::test]
async fn a_build_that_still_runs_has_no_archive_and_a_failed_one_has() {
    let scene = Scene::new().await;
    let build = scene.executing("a, b").await;
    scene.succeed(build, "a", &[("a.txt", "kept")]).await;
    let early = scene.get(&format!("/v1/builds/{build}/archive")).await;
    scene.fail(build, "b").await;

    let late = scene.get(&format!("/v1/builds/{build}/archive")).await;

    assert_eq!((early.status, early.code().as_str()), (StatusCode::CONFLICT, "build_not_final"));
    assert_eq!(late.status, StatusCode::OK);
    let mut archive = ZipArchive::new(Cursor::new(late.body)).unwrap();
    let mut content = String::new();
    archive.by_name("a.txt").unwrap().read_to_string(&mut content).unwrap();
    assert_eq!((content.as_str(), archive.len()), ("kept", 2));
}
