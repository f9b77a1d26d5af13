//! Routes: paths become templates of bounded number (`/users/42` -> `/users/{id}`), for span names and `http.route`.
//!
//! Enters: paths of requests to one service. Leaves: templates. Bounded: [`NODES_MAX`] nodes, [`DEPTH_MAX`] segments, at
//! most [`CHILDREN_MAX`] different names beneath one node. Deliberately absent: the routes frameworks declare; these are
//! inferred from what is asked for, so they are as stable as the service's traffic.
//!
//! Two things make a segment a parameter: its shape (numbers, UUIDs, hashes, dates, mail addresses), and, learned, that
//! its place takes on more names than any place in a route table does.

use compact_str::CompactString;
use rustc_hash::FxHashMap;

use super::table::Family;
use super::{Message, Value};

/// More different names than this beneath one node are values of a parameter.
const CHILDREN_MAX: usize = 40;
/// Segments behind these are one.
const DEPTH_MAX: usize = 8;
const NODES_MAX: usize = 2_000;
/// Longer segments are no names.
const NAME_MAX_BYTES: usize = 40;

const PARAMETER: &str = "{id}";
const REST: &str = "{rest}";

/// Services whose routes are kept; more share one.
const SERVICES_MAX: usize = 256;

/// The routes of every service.
#[derive(Debug, Default)]
pub struct RouteTable {
    services: FxHashMap<CompactString, Routes>,
    others: Routes,
}

impl RouteTable {
    /// Adds `http.route` to an HTTP request that `service` was asked.
    pub fn mark(&mut self, service: &str, family: Family, request: &mut Message) {
        let path = request.target.as_str();
        if family != Family::Http || !path.starts_with('/') || path.ends_with('…') {
            return;
        }
        let room = self.services.len() < SERVICES_MAX;
        let routes = match self.services.get_mut(service) {
            Some(routes) => routes,
            None if room => self.services.entry(CompactString::new(service)).or_default(),
            None => &mut self.others,
        };
        let template = routes.template(path);
        request.attributes.push(("http.route", Value::Text(template)));
    }
}

/// Learns the routes of one service.
#[derive(Debug)]
pub struct Routes {
    nodes: Vec<Node>,
}

#[derive(Debug, Default)]
struct Node {
    names: FxHashMap<CompactString, u32>,
    /// Where any parameter leads.
    parameter: Option<u32>,
    /// It has had too many names: every segment is a parameter.
    merged: bool,
}

impl Default for Routes {
    fn default() -> Self {
        Self {
            nodes: vec![Node::default()],
        }
    }
}

impl Routes {
    /// The template of a path. Equal paths may get a coarser template later, never a finer one.
    pub fn template(&mut self, path: &str) -> CompactString {
        let mut template = Template {
            path,
            same: 0,
            other: None,
        };
        let (mut node, mut depth, mut rest) = (0, 0, path);
        while !rest.is_empty() {
            let end = rest.bytes().position(|byte| byte == b'/');
            let (segment, behind) = rest.split_at(end.unwrap_or(rest.len()));
            rest = behind.get(1..).unwrap_or_default();
            if segment.is_empty() {
                continue;
            }
            if depth == DEPTH_MAX {
                template.push(REST);
                break;
            }
            depth += 1;
            let (next, is_parameter) = self.step(node, segment);
            template.push(if is_parameter { PARAMETER } else { segment });
            node = next;
        }
        template.finish(path.ends_with('/') || depth == 0)
    }

    /// The node a segment leads to, and whether it is a parameter there.
    fn step(&mut self, from: usize, segment: &str) -> (usize, bool) {
        let full = self.nodes.len() >= NODES_MAX;
        if let Some(next) = self.nodes[from].names.get(segment) {
            return (*next as usize, false);
        }
        let node = &mut self.nodes[from];
        if !node.merged && !has_value_shape(segment) && !full {
            if node.names.len() < CHILDREN_MAX {
                let next = self.nodes.len();
                self.nodes[from]
                    .names
                    .insert(CompactString::new(segment), next as u32);
                self.nodes.push(Node::default());
                return (next, false);
            }
            // What was beneath the names is learned anew beneath the parameter.
            node.merged = true;
            node.names = FxHashMap::default();
        }
        if let Some(next) = node.parameter {
            return (next as usize, true);
        }
        if full {
            return (from, true);
        }
        let next = self.nodes.len();
        self.nodes[from].parameter = Some(next as u32);
        self.nodes.push(Node::default());
        (next, true)
    }
}

/// A template under construction: nothing is copied as long as it is how the path begins.
struct Template<'a> {
    path: &'a str,
    /// So many bytes of the path are the template, until it is another text.
    same: usize,
    other: Option<CompactString>,
}

impl Template<'_> {
    fn push(&mut self, segment: &str) {
        let end = self.same + 1 + segment.len();
        let there = self.path.as_bytes().get(self.same..end);
        let goes_on = there.and_then(<[u8]>::split_first) == Some((&b'/', segment.as_bytes()));
        if goes_on && self.other.is_none() {
            self.same = end;
        } else {
            let other = self.own();
            other.push('/');
            other.push_str(segment);
        }
    }

    fn own(&mut self) -> &mut CompactString {
        self.other
            .get_or_insert_with(|| CompactString::new(&self.path[..self.same]))
    }

    fn finish(mut self, slash: bool) -> CompactString {
        if slash {
            self.push("");
        }
        self.other
            .unwrap_or_else(|| CompactString::new(&self.path[..self.same]))
    }
}

/// Whether a segment looks like a value rather than like a name someone gave a route.
fn has_value_shape(segment: &str) -> bool {
    let bytes = segment.as_bytes();
    let digits = bytes.iter().filter(|byte| byte.is_ascii_digit()).count();
    let hexadecimal = bytes.iter().all(|byte| byte.is_ascii_hexdigit() || *byte == b'-');
    let word = bytes
        .iter()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    let version =
        matches!(bytes, [b'v' | b'V', rest @ ..] if rest.len() <= 3 && rest.iter().all(u8::is_ascii_digit));
    match bytes.len() {
        _ if version => false,
        length if length > NAME_MAX_BYTES => true,
        // Percent escapes, mail addresses, coordinates: no route is named like that.
        _ if !word && segment.contains(['@', '%', '=', ',', ';']) => true,
        length if digits == length => true,
        // Hashes and UUIDs.
        length if length >= 8 && hexadecimal && digits > 0 => true,
        // 2026-11-22, 10.0.0.1, order-12345, ITM00042: more digits than anything else.
        length => digits >= 4 || (digits >= 3 && digits * 2 >= length),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(path: &str) -> String {
        Routes::default().template(path).to_string()
    }

    #[test]
    fn values_are_parameters_and_names_are_not() {
        for (path, expected) in [
            ("/", "/"),
            ("/users/42", "/users/{id}"),
            ("/users/42/", "/users/{id}/"),
            (
                "/users/42/orders/7f3c9a1e-0b6d-4a53-9c1f-6f2d1a9b8c7e",
                "/users/{id}/orders/{id}",
            ),
            ("/api/v2/items", "/api/v2/items"),
            ("/blobs/da39a3ee5e6b4b0d3255bfef95601890afd80709", "/blobs/{id}"),
            ("/days/2026-11-22", "/days/{id}"),
            ("/mail/someone@example.org", "/mail/{id}"),
            ("/orders/order-12345", "/orders/{id}"),
            ("/oauth2/token", "/oauth2/token"),
            ("/static/app.css", "/static/app.css"),
            ("*", "/*"),
            ("/a/b/c/d/e/f/g/h/i/j", "/a/b/c/d/e/f/g/h/{rest}"),
        ] {
            assert_eq!(template(path), expected, "{path}");
        }
    }

    #[test]
    fn a_place_with_too_many_names_turns_out_to_be_a_parameter() {
        let mut routes = Routes::default();
        let name = |number: usize| {
            format!(
                "/by-name/{}/profile",
                "abcdefghijklmnop"
                    .repeat(2)
                    .split_at(number % 16 + 1)
                    .0
                    .to_owned()
                    + &"xyz"[..number / 16 % 3 + 1]
            )
        };
        let distinct: std::collections::BTreeSet<_> =
            (0..48).map(|number| routes.template(&name(number))).collect();
        assert!(distinct.len() <= CHILDREN_MAX + 1);
        assert_eq!(
            routes.template("/by-name/somebody-new/profile"),
            "/by-name/{id}/profile"
        );
        assert_eq!(routes.template("/other/place"), "/other/place");
    }

    #[test]
    fn memory_and_templates_are_bounded_whatever_is_asked_for() {
        let mut routes = Routes::default();
        let mut word = 7u64;
        let mut templates = std::collections::BTreeSet::new();
        for _ in 0..200_000 {
            let mut path = String::new();
            for _ in 0..4 {
                word = word
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                path.push('/');
                path.extend((0..6).map(|place| char::from(b'a' + ((word >> (place * 8 + 8)) % 26) as u8)));
            }
            templates.insert(routes.template(&path));
        }
        assert!(routes.nodes.len() <= NODES_MAX);
        assert!(templates.len() <= NODES_MAX, "{}", templates.len());
    }
}
