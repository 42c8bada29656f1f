//! Logging in, in the order of `ssh`: keys that an agent has, keys in files, then a password.
//!
//! A passphrase that opened a key is never sent to a server as a password. What a server took is remembered, so that further
//! connections do not ask for everything again.

use super::fault::words;
use super::guard::{Guard, Said};
use super::route::{Hop, read_bounded};
use crate::access::{Access, Secret};
use icecore::error::{Error, Kind, Result};
use icecore::limits::SSH_KEY_BYTES;
use russh::MethodKind;
use russh::client::{AuthResult, Handle, KeyboardInteractiveAuthResponse};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::{HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKey, decode_secret_key};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use tokio::net::UnixStream;

/// How often a server may ask again before it is given up.
const ROUNDS: usize = 4;

/// What a server took.
#[derive(Clone)]
pub(super) enum Worked {
    Agent(PublicKey),
    Key(Arc<PrivateKey>),
    Password(Secret),
}

/// A login under way.
pub(super) struct Login<'a> {
    pub ssh: &'a mut Handle<Guard>,
    /// What the server says at the end.
    pub said: &'a Said,
    pub hop: &'a Hop,
    pub access: &'a Access,
    /// Whether this is the server itself, and none on the way: a password is for it.
    pub is_server: bool,
    /// What has been tried, for people.
    pub tried: Vec<String>,
}

/// How an attempt ended.
enum Outcome {
    In,
    /// More is wanted, by these methods; `true` when this was right and not enough.
    Not(Vec<MethodKind>, bool),
}

/// Why there are no further attempts.
enum Stop {
    Ours(Error),
    /// The line is gone.
    Gone(Option<russh::Error>),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Ours(error)
    }
}

impl From<russh::Error> for Stop {
    fn from(error: russh::Error) -> Stop {
        Stop::Gone(Some(error))
    }
}

impl From<AuthResult> for Outcome {
    fn from(result: AuthResult) -> Outcome {
        match result {
            AuthResult::Success => Outcome::In,
            AuthResult::Failure { remaining_methods, partial_success } => {
                Outcome::Not(remaining_methods.to_vec(), partial_success)
            }
        }
    }
}

impl Login<'_> {
    /// Logs in.
    ///
    /// # Errors
    /// `Denied` when the server takes nothing of what there is, `Io` that may pass when the line was lost before it said so.
    pub async fn run(mut self) -> Result<()> {
        let cause = match self.attempts().await {
            Ok(Outcome::In) => return Ok(()),
            Ok(Outcome::Not(..)) => return Err(self.denied()),
            Err(Stop::Ours(error)) => return Err(error),
            Err(Stop::Gone(cause)) => cause,
        };
        // Once its task is over, the server's last words are known. How it ended is told by them and by what was asked.
        (&mut *self.ssh).await.unwrap_or(());
        // One that has had enough of what it does not take says so; a line that breaks says nothing.
        if self.said.words().is_some() && !self.tried.is_empty() {
            return Err(self.denied());
        }
        let lost = Error::new(Kind::Io, "the connection was lost while logging in").retry_later();
        // Some servers refuse by closing it, and say nothing.
        Err(match cause {
            Some(cause) => lost.because(cause),
            None if !self.tried.is_empty() => lost.because(self.all_tried()),
            None => lost,
        })
    }

    async fn attempts(&mut self) -> Result<Outcome, Stop> {
        let worked = self.hop.worked.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(worked) = worked
            && let Outcome::In = self.again(worked).await?
        {
            return Ok(Outcome::In);
        }
        let none = self.ssh.authenticate_none(&self.hop.user).await?;
        let mut methods = match self.still_connected(none.into())? {
            Outcome::In => return Ok(Outcome::In),
            Outcome::Not(methods, _) => methods,
        };
        let mut passphrase_used = false;
        if methods.contains(&MethodKind::PublicKey) {
            match self.by_keys(&mut passphrase_used).await? {
                Outcome::In => return Ok(Outcome::In),
                Outcome::Not(left, true) => methods = left,
                Outcome::Not(..) => {}
            }
        }
        self.by_password(&methods, passphrase_used).await
    }

    async fn again(&mut self, worked: Worked) -> Result<Outcome, Stop> {
        match worked {
            Worked::Key(key) => self.with_key(key).await,
            Worked::Agent(key) => match self.agent().await {
                Some((mut agent, identities)) => {
                    match identities
                        .into_iter()
                        .find(|identity| identity.public_key().key_data() == key.key_data())
                    {
                        Some(identity) => self.with_agent(&mut agent, identity).await,
                        None => Ok(Outcome::Not(Vec::new(), false)),
                    }
                }
                None => Ok(Outcome::Not(Vec::new(), false)),
            },
            Worked::Password(password) => self.with_password(&[MethodKind::Password], &password).await,
        }
    }

    fn remember(&self, worked: Worked) {
        *self.hop.worked.lock().unwrap_or_else(PoisonError::into_inner) = Some(worked);
    }

    async fn by_keys(&mut self, passphrase_used: &mut bool) -> Result<Outcome, Stop> {
        let hop = self.hop;
        let mut files = Vec::new();
        for path in &hop.keys.files {
            if let Some(file) = self.key_file(path)? {
                files.push(file);
            }
        }
        let mut in_agent: Vec<PublicKey> = Vec::new();
        if let Some((mut agent, mut identities)) = self.agent().await {
            let place = |identity: &AgentIdentity| {
                files.iter().position(|file| file.is_of(&identity.public_key())).unwrap_or(files.len())
            };
            // Keys that are named come first.
            identities.sort_by_key(|identity| place(identity));
            if hop.keys.only {
                identities.retain(|identity| place(identity) < files.len());
            }
            for identity in identities {
                in_agent.push(identity.public_key().into_owned());
                match self.with_agent(&mut agent, identity).await? {
                    Outcome::Not(_, false) => {}
                    done => return Ok(done),
                }
            }
        }
        for file in files {
            if in_agent.iter().any(|key| file.is_of(key)) {
                continue;
            }
            let Some(key) = self.unlocked(file, passphrase_used)? else { continue };
            match self.with_key(Arc::new(key)).await? {
                Outcome::Not(_, false) => {}
                done => return Ok(done),
            }
        }
        Ok(Outcome::Not(Vec::new(), false))
    }

    /// The agent and what it has; nobody has to run one.
    async fn agent(&mut self) -> Option<(AgentClient<UnixStream>, Vec<AgentIdentity>)> {
        let socket = self.hop.keys.agent.as_ref()?;
        let connected = match AgentClient::connect_uds(socket).await {
            Ok(mut agent) => {
                // For keys that may only be used for certain hosts; agents that do not know it refuse, which is all right.
                if let Some(binding) = self.ssh.agent_session_binding() {
                    agent.bind_session(binding, false).await.unwrap_or(());
                }
                agent.request_identities().await.map(|identities| (agent, identities))
            }
            Err(error) => Err(error),
        };
        match connected {
            Ok(found) => Some(found),
            Err(error) => {
                self.tried.push(format!("the agent does not answer ({})", words(&error.to_string())));
                None
            }
        }
    }

    async fn with_agent(
        &mut self,
        agent: &mut AgentClient<UnixStream>,
        identity: AgentIdentity,
    ) -> Result<Outcome, Stop> {
        let key = identity.public_key().into_owned();
        let hash = self.hash_for(&key).await?;
        let user = &self.hop.user;
        let done = match identity {
            AgentIdentity::PublicKey { key, .. } => {
                self.ssh.authenticate_publickey_with(user, key, hash, agent).await
            }
            AgentIdentity::Certificate { certificate, .. } => {
                self.ssh.authenticate_certificate_with(user, certificate, hash, agent).await
            }
        };
        let name = format!("{} of the agent", key.fingerprint(HashAlg::Sha256));
        match done.map(Outcome::from) {
            Ok(Outcome::In) => {
                self.remember(Worked::Agent(key));
                Ok(Outcome::In)
            }
            Ok(outcome) => {
                self.tried.push(name);
                self.still_connected(outcome)
            }
            // An agent that does not sign (a key that wants a touch) leaves the others.
            Err(error) => {
                self.tried.push(format!("{name} ({})", words(&error.to_string())));
                self.still_connected(Outcome::Not(Vec::new(), false))
            }
        }
    }

    async fn with_key(&mut self, key: Arc<PrivateKey>) -> Result<Outcome, Stop> {
        let hash = self.hash_for(key.public_key()).await?;
        let shown = PrivateKeyWithHashAlg::new(Arc::clone(&key), hash);
        let done = self.ssh.authenticate_publickey(&self.hop.user, shown).await?;
        match Outcome::from(done) {
            Outcome::In => {
                self.remember(Worked::Key(key));
                Ok(Outcome::In)
            }
            outcome => {
                self.tried.push(key.fingerprint(HashAlg::Sha256).to_string());
                self.still_connected(outcome)
            }
        }
    }

    /// What looks like a refusal may be a line that is gone.
    fn still_connected(&self, outcome: Outcome) -> Result<Outcome, Stop> {
        match outcome {
            Outcome::Not(..) if self.ssh.is_closed() => Err(Stop::Gone(None)),
            outcome => Ok(outcome),
        }
    }

    /// How an RSA key signs: never by SHA-1.
    async fn hash_for(&self, key: &PublicKey) -> Result<Option<HashAlg>, Stop> {
        if !key.algorithm().is_rsa() {
            return Ok(None);
        }
        let best = self.ssh.best_supported_rsa_hash().await?;
        Ok(best.flatten().or(Some(HashAlg::Sha512)))
    }

    /// A key in a file; `None` when there is none, or none that can be used.
    fn key_file(&mut self, path: &Path) -> Result<Option<KeyFile>> {
        let shown = path.display().to_string();
        let text = match read_bounded(path, SSH_KEY_BYTES) {
            Ok(Some(text)) => text,
            Ok(None) => {
                if self.hop.keys.are_named {
                    self.tried.push(format!("{shown} (there is no such file)"));
                }
                return Ok(None);
            }
            Err(error) => {
                self.tried.push(error.to_string());
                return Ok(None);
            }
        };
        let mode = std::fs::metadata(path).map(|found| found.permissions().mode());
        if mode.is_ok_and(|mode| mode & 0o077 != 0) {
            self.tried.push(format!("{shown} (others may read it, so it is not used)"));
            return Ok(None);
        }
        let public = PrivateKey::from_openssh(&text).ok().map(|key| key.public_key().clone());
        Ok(Some(KeyFile { path: path.to_owned(), text: Secret::new(text), public }))
    }

    fn unlocked(&mut self, file: KeyFile, passphrase_used: &mut bool) -> Result<Option<PrivateKey>> {
        let text = file.text.expose();
        let open = match decode_secret_key(text, None) {
            Ok(key) => return Ok(Some(key)),
            Err(error) => error,
        };
        let shown = file.path.display();
        let Some(passphrase) = (self.access.password)()? else {
            self.tried.push(format!("{shown} ({})", words(&open.to_string())));
            return Ok(None);
        };
        match decode_secret_key(text, Some(passphrase.expose())) {
            Ok(key) => {
                *passphrase_used = true;
                Ok(Some(key))
            }
            Err(error) => {
                self.tried
                    .push(format!("{shown} (not opened by the password: {})", words(&error.to_string())));
                Ok(None)
            }
        }
    }

    async fn by_password(&mut self, methods: &[MethodKind], passphrase_used: bool) -> Result<Outcome, Stop> {
        let no = Ok(Outcome::Not(Vec::new(), false));
        let is_wanted = |method| methods.contains(&method);
        if !is_wanted(MethodKind::Password) && !is_wanted(MethodKind::KeyboardInteractive) {
            return no;
        }
        let password = match &self.hop.password {
            Some(password) => Some(password.clone()),
            None if self.is_server && !passphrase_used => (self.access.password)()?,
            None => None,
        };
        match password {
            Some(password) => self.with_password(methods, &password).await,
            None => {
                self.tried.push("no password".to_owned());
                no
            }
        }
    }

    async fn with_password(&mut self, methods: &[MethodKind], password: &Secret) -> Result<Outcome, Stop> {
        let mut methods = methods.to_vec();
        if methods.contains(&MethodKind::Password) {
            let done = self.ssh.authenticate_password(&self.hop.user, password.expose()).await?;
            let outcome = Outcome::from(done);
            if let Outcome::In = outcome {
                self.remember(Worked::Password(password.clone()));
                return Ok(outcome);
            }
            self.tried.push("the password".to_owned());
            if let Outcome::Not(left, _) = self.still_connected(outcome)? {
                methods = left;
            }
        }
        if methods.contains(&MethodKind::KeyboardInteractive) && self.answers(password).await? {
            return Ok(Outcome::In);
        }
        Ok(Outcome::Not(Vec::new(), false))
    }

    /// Answers whatever is asked for and not to be shown with the password.
    async fn answers(&mut self, password: &Secret) -> Result<bool, Stop> {
        let user = &self.hop.user;
        let mut asked = self.ssh.authenticate_keyboard_interactive_start(user, None::<String>).await?;
        let mut is_given = false;
        for _ in 0..ROUNDS {
            let prompts = match asked {
                KeyboardInteractiveAuthResponse::Success => return Ok(true),
                KeyboardInteractiveAuthResponse::Failure { .. } => break,
                KeyboardInteractiveAuthResponse::InfoRequest { prompts, .. } => prompts,
            };
            // Once is enough: what is asked a second time is something else (a code), or the same after a mistake.
            if is_given && !prompts.is_empty() {
                break;
            }
            is_given |= !prompts.is_empty();
            let answer = |is_shown: bool| if is_shown { String::new() } else { password.expose().to_owned() };
            let answers = prompts.iter().map(|prompt| answer(prompt.echo)).collect();
            asked = self.ssh.authenticate_keyboard_interactive_respond(answers).await?;
        }
        self.tried.push("the password, as an answer".to_owned());
        self.still_connected(Outcome::Not(Vec::new(), false)).map(|_| false)
    }

    fn all_tried(&self) -> String {
        let tried = if self.tried.is_empty() { "nothing to show".to_owned() } else { self.tried.join(", ") };
        format!("tried: {tried}")
    }

    fn denied(&self) -> Error {
        let hop = self.hop;
        Error::new(Kind::Denied, "the server lets nobody in as")
            .on(format!("{} ({})", hop.user, hop.label.written()))
            .because(self.all_tried())
            .hint("a key by ?identity=FILE, ~/.ssh/config or an agent; a password or passphrase by ICECORE_STORAGE_PASSWORD")
    }
}

/// A key that may still be locked.
struct KeyFile {
    path: PathBuf,
    text: Secret,
    public: Option<PublicKey>,
}

impl KeyFile {
    fn is_of(&self, key: &PublicKey) -> bool {
        self.public.as_ref().is_some_and(|own| own.key_data() == key.key_data())
    }
}
