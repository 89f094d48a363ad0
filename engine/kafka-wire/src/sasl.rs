//! The client's side of SASL exchanges, as messages in and out; the connection carries them.
//!
//! SCRAM is RFC 5802 and RFC 7677 (without channel binding, as Kafka), OAUTHBEARER RFC 7628.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, Mac};
use rand::Rng;
use sha2::{Digest, Sha256, Sha512};

use crate::config::{Sasl, ScramHash, Token};

/// What a step of an exchange leads to.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    Send(Vec<u8>),
    Done,
}

pub enum Exchange {
    /// One message, any answer.
    Single,
    /// OAUTHBEARER: one message, and an empty answer if it is taken.
    Bearer {
        refusal: Option<String>,
    },
    Scram(Scram),
}

/// The exchange and its first message. `token` is there for OAUTHBEARER.
pub fn start(sasl: &Sasl, token: Option<&Token>) -> Result<(Exchange, Vec<u8>), String> {
    match sasl {
        Sasl::Plain { username, password } => {
            Ok((Exchange::Single, format!("\0{username}\0{password}").into_bytes()))
        }
        Sasl::Scram {
            hash,
            username,
            password,
        } => {
            let nonce: String = {
                let mut random = rand::rng();
                (0..24)
                    .map(|_| char::from(random.sample(rand::distr::Alphanumeric)))
                    .collect()
            };
            let scram = Scram::new(*hash, username, password, nonce);
            let first = format!("n,,{}", scram.first_bare).into_bytes();
            Ok((Exchange::Scram(scram), first))
        }
        Sasl::OauthBearer(_) => {
            let token = token.ok_or("no token was given")?;
            let mut message = format!("n,,\u{1}auth=Bearer {}\u{1}", token.value);
            for (key, value) in &token.extensions {
                message.push_str(&format!("{key}={value}\u{1}"));
            }
            message.push('\u{1}');
            Ok((Exchange::Bearer { refusal: None }, message.into_bytes()))
        }
    }
}

impl Exchange {
    pub fn answer(&mut self, server: &[u8]) -> Result<Step, String> {
        match self {
            Exchange::Single => Ok(Step::Done),
            Exchange::Bearer { refusal } => match refusal.take() {
                Some(reason) => Err(format!("OAUTHBEARER authentication failed: {reason}")),
                None if server.is_empty() => Ok(Step::Done),
                // A refusal comes as a message that must be acknowledged before the error itself
                // (RFC 7628, 3.2.3).
                None => {
                    *refusal = Some(String::from_utf8_lossy(server).into_owned());
                    Ok(Step::Send(vec![1]))
                }
            },
            Exchange::Scram(scram) => scram.answer(server),
        }
    }
}

pub struct Scram {
    hash: ScramHash,
    password: String,
    nonce: String,
    first_bare: String,
    /// What the server must prove to know; set once our proof is sent.
    expected_signature: Option<Vec<u8>>,
}

impl Scram {
    fn new(hash: ScramHash, username: &str, password: &str, nonce: String) -> Self {
        let name = username.replace('=', "=3D").replace(',', "=2C");
        let first_bare = format!("n={name},r={nonce}");
        Scram {
            hash,
            password: password.to_owned(),
            nonce,
            first_bare,
            expected_signature: None,
        }
    }

    fn answer(&mut self, server: &[u8]) -> Result<Step, String> {
        let text = std::str::from_utf8(server).map_err(|_| "the server's SCRAM message is not text")?;
        match self.expected_signature.take() {
            None => self.prove(text).map(Step::Send),
            Some(expected) => {
                if let Some(error) = attribute(text, 'e') {
                    return Err(format!("SCRAM authentication failed: {error}"));
                }
                let given = attribute(text, 'v').and_then(|v| BASE64.decode(v).ok());
                // Nothing secret depends on how long this comparison takes: the connection ends.
                if given.as_deref() == Some(&expected[..]) {
                    Ok(Step::Done)
                } else {
                    Err("the server did not prove that it knows the password".to_owned())
                }
            }
        }
    }

    fn prove(&mut self, server_first: &str) -> Result<Vec<u8>, String> {
        let malformed = || format!("malformed SCRAM message from the server: {server_first}");
        let nonce = attribute(server_first, 'r').ok_or_else(malformed)?;
        let salt = attribute(server_first, 's')
            .and_then(|s| BASE64.decode(s).ok())
            .ok_or_else(malformed)?;
        let iterations: u32 = attribute(server_first, 'i')
            .and_then(|i| i.parse().ok())
            .ok_or_else(malformed)?;
        if !nonce.starts_with(&self.nonce) || nonce.len() == self.nonce.len() {
            return Err("the server's SCRAM nonce does not begin with ours".to_owned());
        }
        // A server that asks for billions of rounds would stop us.
        if !(1..=10_000_000).contains(&iterations) {
            return Err(format!("the server asks for {iterations} SCRAM iterations"));
        }
        let final_without_proof = format!("c=biws,r={nonce}");
        let auth_message = format!("{},{server_first},{final_without_proof}", self.first_bare);
        let salted = self.salted_password(&salt, iterations)?;
        let client_key = self.mac(&salted, b"Client Key")?;
        let client_signature = self.mac(&self.digest(&client_key), auth_message.as_bytes())?;
        let proof: Vec<u8> = client_key
            .iter()
            .zip(&client_signature)
            .map(|(a, b)| a ^ b)
            .collect();
        let server_key = self.mac(&salted, b"Server Key")?;
        self.expected_signature = Some(self.mac(&server_key, auth_message.as_bytes())?);
        Ok(format!("{final_without_proof},p={}", BASE64.encode(proof)).into_bytes())
    }

    fn salted_password(&self, salt: &[u8], iterations: u32) -> Result<Vec<u8>, String> {
        let password = self.password.as_bytes();
        let mut out = vec![0; self.length()];
        match self.hash {
            ScramHash::Sha256 => pbkdf2::pbkdf2::<Hmac<Sha256>>(password, salt, iterations, &mut out),
            ScramHash::Sha512 => pbkdf2::pbkdf2::<Hmac<Sha512>>(password, salt, iterations, &mut out),
        }
        .map_err(|e| e.to_string())?;
        Ok(out)
    }

    fn length(&self) -> usize {
        match self.hash {
            ScramHash::Sha256 => 32,
            ScramHash::Sha512 => 64,
        }
    }

    fn mac(&self, key: &[u8], message: &[u8]) -> Result<Vec<u8>, String> {
        match self.hash {
            ScramHash::Sha256 => {
                let mut mac = Hmac::<Sha256>::new_from_slice(key).map_err(|e| e.to_string())?;
                mac.update(message);
                Ok(mac.finalize().into_bytes().to_vec())
            }
            ScramHash::Sha512 => {
                let mut mac = Hmac::<Sha512>::new_from_slice(key).map_err(|e| e.to_string())?;
                mac.update(message);
                Ok(mac.finalize().into_bytes().to_vec())
            }
        }
    }

    fn digest(&self, data: &[u8]) -> Vec<u8> {
        match self.hash {
            ScramHash::Sha256 => Sha256::digest(data).to_vec(),
            ScramHash::Sha512 => Sha512::digest(data).to_vec(),
        }
    }
}

fn attribute(message: &str, name: char) -> Option<&str> {
    message
        .split(',')
        .find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example exchange of RFC 7677, section 3.
    #[test]
    fn scram_sha_256_as_in_its_rfc() {
        let mut scram = Scram::new(
            ScramHash::Sha256,
            "user",
            "pencil",
            "rOprNGfwEbeRWgbNEkqO".to_owned(),
        );
        assert_eq!(scram.first_bare, "n=user,r=rOprNGfwEbeRWgbNEkqO");
        let server_first =
            b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        let expected: &[u8] = b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
            p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        assert_eq!(scram.answer(server_first).unwrap(), Step::Send(expected.to_vec()));
        let server_final = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";
        assert_eq!(scram.answer(server_final).unwrap(), Step::Done);
    }

    #[test]
    fn a_server_that_does_not_know_the_password_is_refused() {
        let mut scram = Scram::new(ScramHash::Sha512, "user", "pencil", "abc".to_owned());
        assert!(matches!(
            scram.answer(b"r=abcdef,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"),
            Ok(Step::Send(_))
        ));
        assert!(
            scram
                .answer(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")
                .is_err()
        );
        let mut scram = Scram::new(ScramHash::Sha512, "user", "pencil", "abc".to_owned());
        assert!(
            scram.answer(b"r=xyz,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096").is_err(),
            "another nonce"
        );
    }

    #[test]
    fn names_are_escaped() {
        assert_eq!(
            Scram::new(ScramHash::Sha256, "a=b,c", "", "r".to_owned()).first_bare,
            "n=a=3Db=2Cc,r=r"
        );
    }
}
