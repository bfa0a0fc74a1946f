//! What looks secret, by its name or by itself: such values are never copied from where they are kept apart from the repository.

/// Parts of names of variables that hold secrets.
const WORDS: [&str; 24] = [
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
    "AUTH",
    "PIN",
    "SEED",
    "PEPPER",
    "LICENSE",
    "LICENCE",
    "SIGNING",
];

/// How values begin that are tokens, of whichever service.
const TOKENS: [&str; 12] = [
    "sk_",
    "rk_",
    "sk-",
    "ghp_",
    "gho_",
    "ghs_",
    "github_pat_",
    "glpat-",
    "xox",
    "AKIA",
    "eyJ",
    "https://hooks.slack.com/",
];

/// What is no secret although a word of it is one: names, addresses and places of keys, public ones.
const PUBLIC: [&str; 9] = ["PUBLIC", "PUBLISHABLE", "FILE", "PATH", "DIR", "ID", "NAME", "URL", "EXPIRY"];

/// Words that end as `DBPASS` does and mean something else.
const NO_PASS: [&str; 3] = ["COMPASS", "BYPASS", "TRESPASS"];

/// Whether a variable of that name holds `value` as a secret: `LOGIN` may be a name alone, or one with its password.
pub(super) fn is_secret(name: &str, value: &str) -> bool {
    let is_login = name.to_ascii_uppercase().split('_').any(|word| word == "LOGIN");
    is_secret_name(name)
        || is_secret_value(value)
        || (is_login && value.contains(':') && !value.contains("://"))
}

/// Whether a variable of that name holds a secret.
pub(super) fn is_secret_name(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    if matches!(&*upper, "PWD" | "OLDPWD") {
        // The directory that a shell is in.
        return false;
    }
    let words: Vec<&str> = upper.split(|c: char| !c.is_ascii_alphanumeric()).collect();
    let ends = ["PASSWORD", "SECRET", "TOKEN", "APIKEY"];
    let ends_so = |word: &str| ends.iter().any(|end| word.len() > 6 && word.ends_with(end));
    let secret = |word: &&str| {
        WORDS.contains(word) || ends_so(word) || (word.ends_with("PASS") && !NO_PASS.contains(word))
    };
    words.iter().any(secret)
        && words.last().is_none_or(|last| !PUBLIC.contains(last))
        && !words.contains(&"PUBLIC")
}

/// Whether `value` is one that nobody else should read: one that is known to be, or text that looks random.
pub(super) fn is_secret_value(value: &str) -> bool {
    is_known_secret(value) || looks_random(value)
}

/// A URL with a password in it, a key, or a token of a service that is known by its form.
fn is_known_secret(value: &str) -> bool {
    let value = value.trim_start();
    let key = value.contains("-----BEGIN") || (value.starts_with('{') && value.contains("\"private_key\""));
    // No more than the beginning is no token.
    let token = TOKENS.iter().any(|start| value.starts_with(start) && value.len() > start.len() + 4);
    has_password(value) || key || token
}

/// `scheme://user:password@host`.
fn has_password(value: &str) -> bool {
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
            "SMTP_AUTH",
            "ADMIN_PIN",
            "HASH_SEED",
            "PEPPER",
            "PASSWORD_SALT",
            "SIDEKIQ_LICENSE",
            "SIGNING",
            "DBPASS",
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
            "AUTHOR",
            "PINNED",
            "BYPASS",
            "LOGIN",
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
            "sk_live_x",
            "rk_test_abc",
            "ghp_abcdefgh",
            "github_pat_abcdef",
            "glpat-abcdef",
            "xoxb-1234-abc",
            "AKIAIOSFODNN",
            "eyJhbGciOi.eyJzdWIi.x",
            "-----BEGIN CERTIFICATE-----",
            "https://hooks.slack.com/services/T0/B0/x",
            "{\"type\": \"service_account\", \"private_key\": \"x\"}",
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
        assert!(is_secret("SMTP_LOGIN", "app:pw") && !is_secret("SMTP_LOGIN", "app"));
    }
}
