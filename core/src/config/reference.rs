//! The page of the documentation that lists every setting, made from the table.

use super::source::full_name;
use super::{Preset, SETTINGS};

/// All settings as a table in Markdown.
pub fn reference() -> String {
    let mut page = String::from(HEAD);
    for setting in SETTINGS {
        let default = match setting.default {
            Preset::Text(text) => format!("`{text}`"),
            Preset::ByEnvironment(development, production) => {
                format!("`{development}` in development, `{production}` in production")
            }
            Preset::Absent => "none".to_owned(),
        };
        let doc = setting.doc.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|");
        page.push_str(&format!("| `{}` | {default} | {doc} |\n", full_name(setting.name)));
    }
    page
}

/// The table's head, and the one name that is no setting itself.
const HEAD: &str = "\
| name | default | meaning |
|---|---|---|
| `CHATROOM_CONFIG` | none | TOML file with the same names, in lower case and without the prefix. |
";
