//! The files of a project: one by one, or all in an archive.
//!
//! What they hold was written from a stranger's words, so no browser is to run any of it under the
//! API's own name.

use axum::{
    Json,
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use buildfleet::domain::{id::BuildId, plan::check_path};

use crate::{
    Api, Error, archive as archives,
    query::{FilePath, Id, Query},
    wire::file::{File, Files, content_type},
};

const SANDBOX: &str = "default-src 'none'; sandbox";

/// List a build's files
///
/// Every file that was committed so far, by path.
#[utoipa::path(
    get, path = "/v1/builds/{id}/files", operation_id = "list_files", tag = "files",
    params(("id" = String, Path, description = "`bld_...`")),
    responses((status = 200, description = "All files", body = Files)),
)]
pub async fn list(
    State(api): State<Api>,
    Id(id): Id<BuildId>,
    query: Query,
) -> Result<Json<Files>, Error> {
    query.finish()?;
    let files = api.store.files(id).await?;
    Ok(Json(Files {
        total_files: files.len(),
        total_size: files.iter().map(|file| file.size_bytes).sum(),
        files: files.into_iter().map(File::from).collect(),
    }))
}

/// Read a file
///
/// Its bytes. `path` may have slashes in it, plain or percent-encoded.
#[utoipa::path(
    get, path = "/v1/builds/{id}/files/{path}", operation_id = "read_file", tag = "files",
    params(
        ("id" = String, Path, description = "`bld_...`"),
        ("path" = String, Path, description = "As in the listing", example = "app/main.py"),
        ("If-None-Match" = Option<String>, Header, description = "The ETag of the file as one has it"),
    ),
    responses(
        (status = 200, description = "The bytes", headers(("ETag" = String, description = "The SHA-256 of the bytes")), content(
            (String = "text/plain"), (serde_json::Value = "application/json"), (Vec<u8> = "application/octet-stream"),
        )),
        (status = 304, description = "It is as one has it"),
    ),
)]
pub async fn show(
    State(api): State<Api>,
    Id(id): Id<BuildId>,
    FilePath(path): FilePath,
    query: Query,
    headers: HeaderMap,
) -> Result<Response, Error> {
    query.finish()?;
    // No file can have a name that is no path; not every store could even be asked for it.
    if check_path(&path).is_err() {
        return Err(Error::not_found(format!("the file {path:?} of {id} does not exist")));
    }
    let found = api.store.file(id, &path).await?;
    let tag = etag(&found.file.sha256);
    if is_known(&headers, &tag) {
        return Ok(not_modified(tag));
    }
    let kind = HeaderValue::from_static(content_type(&path, &found.content));
    let mut response = Body::from(found.content).into_response();
    dress(response.headers_mut(), kind, tag);
    Ok(response)
}

/// Download a build's files
///
/// A zip of exactly the committed files under their paths, and of `MANIFEST.sha256`, which
/// `sha256sum -c` takes. The same files make the same bytes. A build that failed or was cancelled gives
/// what was written until then; one that still runs gives 409.
#[utoipa::path(
    get, path = "/v1/builds/{id}/archive", operation_id = "download_archive", tag = "files",
    params(
        ("id" = String, Path, description = "`bld_...`"),
        ("If-None-Match" = Option<String>, Header, description = "The ETag of the archive as one has it"),
    ),
    responses(
        (status = 200, description = "The zip", body = Vec<u8>, content_type = "application/zip", headers(
            ("ETag" = String, description = "Changes with the files"),
            ("Content-Disposition" = String, description = "`attachment; filename=\"project-<build id>.zip\"`"),
        )),
        (status = 304, description = "It is as one has it"),
        (status = 409, description = "`build_not_final`: the build still runs"),
    ),
)]
pub async fn archive(
    State(api): State<Api>,
    Id(id): Id<BuildId>,
    query: Query,
    headers: HeaderMap,
) -> Result<Response, Error> {
    query.finish()?;
    let build = api.store.build(id).await?;
    if !build.state.is_final() {
        return Err(Error::conflict(
            "build_not_final",
            format!("{id} is {}; its archive is there when it has come to an end", build.state),
        ));
    }
    let tag = etag(&archives::tag(&api.store.files(id).await?));
    if is_known(&headers, &tag) {
        return Ok(not_modified(tag));
    }
    let files = api.store.file_contents(id).await?;
    let tag = etag(&archives::tag(files.iter().map(|entry| &entry.file)));
    let zip = match tokio::task::spawn_blocking(move || archives::zip(&files)).await {
        Ok(Ok(zip)) => zip,
        Ok(Err(error)) => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "an archive could not be written"
            );
            return Err(Error::internal());
        }
        Err(error) => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "writing an archive broke off"
            );
            return Err(Error::internal());
        }
    };
    let mut response = Body::from(zip).into_response();
    let headers = response.headers_mut();
    dress(headers, HeaderValue::from_static("application/zip"), tag);
    let name = format!("attachment; filename=\"project-{id}.zip\"");
    if let Ok(name) = HeaderValue::from_str(&name) {
        headers.insert(header::CONTENT_DISPOSITION, name);
    }
    Ok(response)
}

fn etag(hash: &str) -> String {
    format!("\"{hash}\"")
}

fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|known| known.trim())
        .any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}

fn not_modified(tag: String) -> Response {
    let mut response = StatusCode::NOT_MODIFIED.into_response();
    tagged(response.headers_mut(), tag);
    response
}

fn tagged(headers: &mut HeaderMap, tag: String) {
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(header::ETAG, tag);
    }
    // It is somebody's code, and a retry may change it: kept by the client alone, and asked for
    // anew.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
}

fn dress(headers: &mut HeaderMap, kind: HeaderValue, tag: String) {
    headers.insert(header::CONTENT_TYPE, kind);
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(SANDBOX));
    headers.insert(
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    );
    tagged(headers, tag);
}
