//! What is told in words: the command line, the environment, paths.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use super::Entry;

impl Entry {
    /// Its arguments, as it shows them itself.
    pub(crate) fn command_line(&self) -> io::Result<Vec<String>> {
        Ok(parse_command_line(&self.read("cmdline")?))
    }

    /// The environment that it was started with.
    pub(crate) fn environment(&self) -> io::Result<BTreeMap<String, String>> {
        Ok(parse_environment(&self.read("environ")?))
    }

    /// Its program.
    pub(crate) fn executable(&self) -> io::Result<String> {
        self.link("exe")
    }

    /// Its working directory.
    pub(crate) fn working_directory(&self) -> io::Result<String> {
        self.link("cwd")
    }

    /// The path of its controlling terminal; `None`: it has none, or none of that number is here.
    pub(crate) fn terminal(&self) -> io::Result<Option<String>> {
        let device = self.terminal_device()?;
        if device == 0 {
            return Ok(None);
        }
        for (dir, prefix) in [("/dev/pts", ""), ("/dev", "tty")] {
            for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
                let name = entry.file_name();
                let is_it =
                    |meta: fs::Metadata| meta.file_type().is_char_device() && meta.rdev() == device;
                if name.to_string_lossy().starts_with(prefix)
                    && fs::metadata(entry.path()).is_ok_and(is_it)
                {
                    return Ok(Some(entry.path().to_string_lossy().into_owned()));
                }
            }
        }
        Ok(None)
    }
}

/// Arguments end in NUL. Who has put another text in their place (setproctitle(3)) separates words
/// by spaces.
fn parse_command_line(text: &str) -> Vec<String> {
    if text.is_empty() {
        return Vec::new();
    }
    let separator = if text.ends_with('\0') { '\0' } else { ' ' };
    let text = text.strip_suffix(separator).unwrap_or(text);
    let is_one_text = separator == '\0' && !text.contains('\0');
    let separator = if is_one_text { ' ' } else { separator };
    text.split(separator).map(str::to_owned).collect()
}

/// Up to the first empty entry; of entries with one name the last one counts.
fn parse_environment(text: &str) -> BTreeMap<String, String> {
    let mut environment = BTreeMap::new();
    // What follows the last NUL is no entry.
    let entries = text.rsplit_once('\0').map_or("", |(entries, _)| entries);
    for entry in entries.split('\0').take_while(|entry| !entry.is_empty()) {
        if let Some((name, value)) = entry.split_once('=')
            && !name.is_empty()
        {
            environment.insert(name.to_owned(), value.to_owned());
        }
    }
    environment
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_told_apart() {
        assert_eq!(parse_command_line(""), Vec::<String>::new());
        assert_eq!(parse_command_line("a\0"), ["a"]);
        assert_eq!(parse_command_line("a\0\0b c\0"), ["a", "", "b c"]);
        assert_eq!(parse_command_line("worker: idle now"), ["worker:", "idle", "now"]);
        assert_eq!(parse_command_line("one title\0"), ["one", "title"]);
        assert_eq!(parse_command_line("\0"), [""]);
    }

    #[test]
    fn the_environment_ends_at_its_first_empty_entry() {
        let parsed = |text| parse_environment(text).into_iter().collect::<Vec<_>>();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(parsed(""), []);
        assert_eq!(parsed("A=1\0B==2\0"), [pair("A", "1"), pair("B", "=2")]);
        assert_eq!(parsed("A=1\0A=2\0=x\0odd\0\0C=3\0"), [pair("A", "2")]);
        assert_eq!(parsed("A=1\0B=2"), [pair("A", "1")]);
        assert_eq!(parsed("\0A=1\0"), []);
    }

    #[test]
    fn fuzz_words() {
        crate::fuzz::hold_text("command_line", |text| {
            assert_eq!(parse_command_line(text).is_empty(), text.is_empty());
        });
        crate::fuzz::hold_text("environ", |text| {
            assert!(
                parse_environment(text).keys().all(|name| !name.is_empty() && !name.contains('='))
            );
        });
    }
}
