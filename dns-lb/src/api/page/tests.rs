//! The files, as a browser gets them.

use axum::{
    body::{Body, to_bytes},
    http::{Method, Request, Response, StatusCode},
};
use dns_lb_common::Ending;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;

use super::*;

async fn ask(method: Method, path: &str) -> Response<Body> {
    let request = Request::builder().method(method).uri(path);
    let request = request.body(Body::empty()).unwrap();
    let service = TowerToHyperService::new(routes::<()>().with_state(()));
    service.call(request).await.unwrap()
}

async fn text(response: Response<Body>) -> String {
    let octets = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    String::from_utf8(octets.to_vec()).unwrap()
}

#[tokio::test]
async fn every_file_comes_with_its_type_and_the_policy() {
    for (path, kind, wanted) in FILES {
        let response = ask(Method::GET, path).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        let head = response.headers();
        assert_eq!(head[header::CONTENT_TYPE], kind, "{path}");
        assert_eq!(head[header::X_CONTENT_TYPE_OPTIONS], "nosniff", "{path}");
        assert_eq!(head[header::CACHE_CONTROL], "no-store", "{path}");
        let policy = head[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; "), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(text(response).await, wanted, "{path}");

        let response = ask(Method::HEAD, path).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        assert_eq!(response.headers()[header::CONTENT_TYPE], kind, "{path}");
        assert_eq!(text(response).await, "", "{path}");
    }
    let post = ask(Method::POST, "/").await;
    assert_eq!(post.status(), StatusCode::METHOD_NOT_ALLOWED);
}

#[test]
fn nothing_comes_from_elsewhere_and_nothing_is_read_as_markup_or_code() {
    const REFUSED: [&str; 14] = [
        "http:",
        "https:",
        "\"//",
        "url(",
        "@import",
        "innerHTML",
        "outerHTML",
        "insertAdjacent",
        "document.write",
        "DOMParser",
        "eval(",
        "Function(",
        "style=",
        "onclick",
    ];
    for (path, _, text) in FILES {
        for refused in REFUSED {
            assert!(!text.contains(refused), "{path} has {refused}");
        }
    }
    // What the policy would refuse, and a browser only says in its console.
    let html = FILES[0].2;
    assert!(!html.contains("<style"));
    assert_eq!(html.matches("<script").count(), 1);
    assert!(html.contains("<script type=\"module\" src=\"page/main.js\"></script>"));
}

#[test]
fn every_module_that_is_asked_for_is_there_and_every_one_is_asked_for() {
    let is_imported = |name: &str| {
        let import = format!("from \"./{name}\"");
        FILES.iter().any(|(_, _, text)| text.contains(&import))
    };
    let scripts = FILES.iter().filter(|(_, kind, _)| *kind == JAVASCRIPT);
    for (path, _, text) in scripts {
        let name = path.strip_prefix("/page/").unwrap();
        assert!(name == "main.js" || is_imported(name), "{path}");
        for import in text.split("from \"./").skip(1) {
            let wanted = format!("/page/{}", import.split('"').next().unwrap());
            assert!(
                FILES.iter().any(|(path, _, _)| *path == wanted),
                "{path}: {wanted}"
            );
        }
    }
}

#[test]
fn endings_are_explained_in_the_words_of_the_code() {
    let explained = FILES
        .iter()
        .find(|(path, _, _)| *path == "/page/endings.js")
        .unwrap()
        .2;
    for &ending in Ending::ALL {
        let entry = format!("  {}:\n    \"{}\",\n", ending.name(), ending.meaning());
        assert!(explained.contains(&entry), "not as in the code: {entry}");
    }
    let entries = explained
        .lines()
        .filter(|line| line.starts_with("    \""))
        .count();
    assert_eq!(entries, Ending::ALL.len());
}
