//! JSON Schema, as much of it as the schema of the status document uses. What is not known here fails
//! the test, so that it never passes for want of looking.

use serde_json::Value;

/// What is wrong with a document, each with its place.
pub(crate) fn faults(schema: &Value, document: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    let checker = Checker { root: schema };
    checker.check(schema, document, "", &mut faults);
    faults
}

struct Checker<'s> {
    root: &'s Value,
}

impl Checker<'_> {
    fn check(&self, schema: &Value, value: &Value, place: &str, faults: &mut Vec<String>) {
        let rules = schema.as_object().expect("a schema");
        for (keyword, rule) in rules {
            let fault = match keyword.as_str() {
                "$schema" | "$defs" | "title" | "description" | "default" => None,
                "$ref" => {
                    let path = rule.as_str().and_then(|path| path.strip_prefix('#'));
                    let target = path.and_then(|path| self.root.pointer(path));
                    self.check(target.expect("what it refers to"), value, place, faults);
                    None
                }
                "type" => {
                    let types = rule.as_array().cloned().unwrap_or(vec![rule.clone()]);
                    let fits = types.iter().any(|name| is_of(value, name));
                    (!fits).then(|| format!("is not of type {rule}"))
                }
                "const" => (value != rule).then(|| format!("is not {rule}")),
                "enum" => {
                    let fits = rule.as_array().expect("values").contains(value);
                    (!fits).then(|| format!("is none of {rule}"))
                }
                "minimum" => {
                    let fits = value.as_f64() >= rule.as_f64() || !value.is_number();
                    (!fits).then(|| format!("is below {rule}"))
                }
                "maximum" => {
                    let fits = value.as_f64() <= rule.as_f64() || !value.is_number();
                    (!fits).then(|| format!("is above {rule}"))
                }
                "format" => {
                    let fits = has_format(value, rule.as_str().expect("a name"));
                    (!fits).then(|| format!("is no {rule}"))
                }
                "pattern" => {
                    let fits = is_match(rule, value.as_str().unwrap_or_default());
                    (!fits).then(|| format!("does not match {rule}"))
                }
                "items" => {
                    let items = value.as_array().into_iter().flatten();
                    for (index, item) in items.enumerate() {
                        self.check(rule, item, &format!("{place}/{index}"), faults);
                    }
                    None
                }
                "anyOf" | "oneOf" => {
                    let matching = rule.as_array().expect("schemas").iter().filter(|schema| {
                        let mut faults = Vec::new();
                        self.check(schema, value, place, &mut faults);
                        faults.is_empty()
                    });
                    let fits = match keyword.as_str() {
                        "oneOf" => matching.count() == 1,
                        _ => matching.count() > 0,
                    };
                    (!fits).then(|| format!("is not one of {rule}"))
                }
                "required" => {
                    let names = rule.as_array().expect("names").iter();
                    let missing: Vec<_> = names
                        .filter(|name| value.get(name.as_str().expect("a name")).is_none())
                        .collect();
                    (!missing.is_empty()).then(|| format!("lacks {missing:?}"))
                }
                "properties" => {
                    for (name, schema) in rule.as_object().expect("schemas") {
                        if let Some(value) = value.get(name) {
                            self.check(schema, value, &format!("{place}/{name}"), faults);
                        }
                    }
                    None
                }
                "patternProperties" => {
                    for (pattern, schema) in rule.as_object().expect("schemas") {
                        let pattern = Value::from(pattern.as_str());
                        for (name, value) in value.as_object().into_iter().flatten() {
                            if is_match(&pattern, name) {
                                self.check(schema, value, &format!("{place}/{name}"), faults);
                            }
                        }
                    }
                    None
                }
                "additionalProperties" => {
                    let is_named = |name: &str| {
                        let patterns = rules.get("patternProperties").and_then(Value::as_object);
                        let mut patterns = patterns.into_iter().flatten();
                        let listed = rules.get("properties").and_then(|all| all.get(name));
                        listed.is_some()
                            || patterns.any(|(pattern, _)| is_match(&pattern.as_str().into(), name))
                    };
                    let all = value.as_object().into_iter().flatten();
                    for (name, value) in all.filter(|(name, _)| !is_named(name)) {
                        let place = format!("{place}/{name}");
                        match rule {
                            Value::Bool(true) => {}
                            Value::Bool(false) => faults.push(format!("{place}: is not known")),
                            schema => self.check(schema, value, &place, faults),
                        }
                    }
                    None
                }
                unknown => {
                    panic!("{place}: the schema says {unknown}, which this test does not know")
                }
            };
            faults.extend(fault.map(|fault| format!("{place}: {value} {fault}")));
        }
    }
}

fn is_of(value: &Value, name: &Value) -> bool {
    match name.as_str().expect("a name") {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        unknown => panic!("a type {unknown}"),
    }
}

fn has_format(value: &Value, name: &str) -> bool {
    let Some(text) = value.as_str() else {
        // Formats of numbers are said by `minimum` and `maximum` too.
        return true;
    };
    match name {
        "ip" => text.parse::<std::net::IpAddr>().is_ok(),
        "date-time" => {
            let shape: String = text
                .chars()
                .map(|letter| if letter.is_ascii_digit() { '0' } else { letter })
                .collect();
            shape == "0000-00-00T00:00:00.000Z"
        }
        unknown => panic!("a format {unknown}"),
    }
}

/// The patterns that there are.
fn is_match(pattern: &Value, text: &str) -> bool {
    let is_hex = |digit: u8| digit.is_ascii_digit() || (b'a'..=b'f').contains(&digit);
    match pattern.as_str().expect("a pattern") {
        r"^\d+$" => !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit()),
        "^[0-9a-f]{2}(:[0-9a-f]{2}){5}$" => {
            let octets: Vec<_> = text.split(':').collect();
            let is_octet = |octet: &&str| octet.len() == 2 && octet.bytes().all(is_hex);
            octets.len() == 6 && octets.iter().all(is_octet)
        }
        unknown => panic!("a pattern {unknown}"),
    }
}
