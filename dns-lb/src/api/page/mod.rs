//! The page for people at `/`: files that are part of the binary.
//!
//! They know only the JSON. They ask for `/status` and `/history` as anybody may, change nothing, and
//! need nothing from elsewhere: the policy that comes with them lets a browser load and ask nothing
//! that is not this server's, and run or style nothing that stands in the markup, so that a name in
//! the document stays a name.

use axum::{
    Router,
    http::{HeaderName, header},
    response::IntoResponse,
    routing::get,
};

/// Path, content type and text.
type File = (&'static str, &'static str, &'static str);

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

const FILES: [File; 14] = [
    ("/", HTML, include_str!("index.html")),
    ("/page/style.css", CSS, include_str!("style.css")),
    ("/page/alarm.js", JAVASCRIPT, include_str!("alarm.js")),
    ("/page/backends.js", JAVASCRIPT, include_str!("backends.js")),
    ("/page/detail.js", JAVASCRIPT, include_str!("detail.js")),
    ("/page/dom.js", JAVASCRIPT, include_str!("dom.js")),
    ("/page/endings.js", JAVASCRIPT, include_str!("endings.js")),
    ("/page/format.js", JAVASCRIPT, include_str!("format.js")),
    ("/page/lists.js", JAVASCRIPT, include_str!("lists.js")),
    ("/page/main.js", JAVASCRIPT, include_str!("main.js")),
    ("/page/model.js", JAVASCRIPT, include_str!("model.js")),
    ("/page/order.js", JAVASCRIPT, include_str!("order.js")),
    ("/page/series.js", JAVASCRIPT, include_str!("series.js")),
    ("/page/services.js", JAVASCRIPT, include_str!("services.js")),
];

/// What a browser may do with the page (Content Security Policy Level 3). The one image is the icon,
/// which the page makes itself.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Not kept: after an upgrade no file may meet those of another version.
const HEADERS: [(HeaderName, &str); 4] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
];

/// A route for each file.
pub(super) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    FILES
        .iter()
        .fold(Router::new(), |router, &(path, kind, text)| {
            let answer = async move || serve(kind, text);
            router.route(path, get(answer))
        })
}

fn serve(kind: &'static str, text: &'static str) -> impl IntoResponse {
    (HEADERS, [(header::CONTENT_TYPE, kind)], text)
}

#[cfg(test)]
mod tests;
