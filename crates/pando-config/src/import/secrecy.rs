//! What looks secret, by its name or by itself: such values are never copied from where they are kept apart from the repository.

/// Parts of names of variables that hold secrets.
const WORDS: [&str; 17] = [
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "PASS",
    "PWD",
    "PW",
    "SECRET",
    "SECRETS",
    "TOKEN",
    "TOKENS",
    "KEY",
    "KEYS",
    "APIKEY",
    "CREDENTIAL",
    "CREDENTIALS",
    "SALT",
    "DSN",
];

/// What is no secret although a word of it is one: names, addresses and places of keys, public ones.
const PUBLIC: [&str; 9] = ["PUBLIC", "PUBLISHABLE", "FILE", "PATH", "DIR", "ID", "NAME", "URL", "EXPIRY"];

/// Whether a variable of that name holds a secret.
pub(super) fn is_secret_name(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    if matches!(&*upper, "PWD" | "OLDPWD") {
        // The directory that a shell is in.
        return false;
    }
    let words: Vec<&str> = upper.split(|c: char| !c.is_ascii_alphanumeric()).collect();
    let ends = ["PASSWORD", "SECRET", "TOKEN", "APIKEY"];
    let secret =
        |word: &&str| WORDS.contains(word) || ends.iter().any(|end| word.len() > 6 && word.ends_with(end));
    words.iter().any(secret)
        && words.last().is_none_or(|last| !PUBLIC.contains(last))
        && !words.contains(&"PUBLIC")
}

/// Whether `value` is one that nobody else should read: a URL with a password in it, a private key, or text that looks random.
pub(super) fn is_secret_value(value: &str) -> bool {
    has_password(value) || value.contains("PRIVATE KEY-----") || looks_random(value)
}

/// `scheme://user:password@host`.
pub(super) fn has_password(value: &str) -> bool {
    let Some((_, rest)) = value.split_once("://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let user = authority.rsplit_once('@').map(|(user, _)| user);
    user.and_then(|user| user.split_once(':')).is_some_and(|(_, password)| !password.is_empty())
}

/// As tokens do: one long word with both letters and digits, and neither a path, a host nor an address.
fn looks_random(value: &str) -> bool {
    let word = value.len() >= 20 && value.chars().all(|c| c.is_ascii_alphanumeric() || "_-+/=".contains(c));
    let digits = value.chars().filter(char::is_ascii_digit).count();
    let letters = value.chars().filter(char::is_ascii_alphabetic).count();
    word && !value.starts_with('/') && digits >= 3 && letters >= 3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_known_by_name() {
        for name in [
            "SECRET_KEY_BASE",
            "DB_PASSWORD",
            "PGPASSWORD",
            "STRIPE_API_KEY",
            "JWT_SECRET",
            "github_token",
            "POSTGRES_PASS",
            "SENTRY_DSN",
            "APP_KEY",
        ] {
            assert!(is_secret_name(name), "{name}");
        }
        for name in [
            "RAILS_ENV",
            "PUBLIC_KEY",
            "SSH_KEY_FILE",
            "AWS_ACCESS_KEY_ID",
            "MONKEY",
            "COMPASS",
            "TOKEN_URL",
            "KEYCLOAK_HOST",
        ] {
            assert!(!is_secret_name(name), "{name}");
        }
    }

    #[test]
    fn secrets_are_known_by_themselves() {
        for value in [
            "postgres://app:s3cret@db/app",
            "sk_live_51H8abc9XyZ7qwerty123",
            "-----BEGIN RSA PRIVATE KEY-----",
            "0f9a8b7c6d5e4f3a2b1c0d9e8f7a6b5c",
        ] {
            assert!(is_secret_value(value), "{value}");
        }
        for value in [
            "production",
            "postgres://app@db/app",
            "https://example.com/a/b?c=d",
            "/srv/app/releases/20240101",
            "smtp.mail.example.com",
            "3000",
            "",
        ] {
            assert!(!is_secret_value(value), "{value}");
        }
    }
}
