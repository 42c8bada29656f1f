"""An FTP server for tests: pyftpdlib as it is, with faults where a test asks for them. The one argument is JSON."""

import json
import sys

from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import DTPHandler, FTPHandler
from pyftpdlib.servers import FTPServer

config = json.loads(sys.argv[1])
encrypted = config["protection"] != "off"
if encrypted:
    from OpenSSL import SSL
    from pyftpdlib.handlers import TLS_DTPHandler, TLS_FTPHandler

control = TLS_FTPHandler if encrypted else FTPHandler
data = TLS_DTPHandler if encrypted else DTPHandler


class Cut:
    """Cuts everything after so many bytes of data, so many times."""

    left = config["cuts"]
    moved = 0

    def count(self, length):
        if Cut.left == 0:
            return False
        Cut.moved += length
        if Cut.moved <= config["cut_after"]:
            return False
        Cut.moved = 0
        Cut.left -= 1
        return True

    def recv(self, size):
        chunk = super().recv(size)
        if chunk and self.receive and self.count(len(chunk)):
            self.cmd_channel.close()
            return b""
        return chunk

    def send(self, chunk):
        if self.file_obj is not None and self.count(len(chunk)):
            self.cmd_channel.close()
            return 0
        return super().send(chunk)


class Silent:
    """Never answers one command."""

    def process_command(self, cmd, *args, **kwargs):
        if cmd != config["silent"]:
            super().process_command(cmd, *args, **kwargs)


class Immediate:
    """Encrypts from the first byte on."""

    def handle(self):
        self.secure_connection(self.ssl_context)

    def handle_ssl_established(self):
        super().handle()


bases = [Silent] + ([Immediate] if config["protection"] == "implicit" else []) + [control]
commands = {name: what for name, what in control.proto_cmds.items() if name not in config["without"]}
Handler = type("Handler", tuple(bases), {"proto_cmds": commands})
Handler.dtp_handler = type("Data", (Cut, data), {})
Handler.use_sendfile = config["cuts"] == 0
Handler.timeout = config["idle"]
Handler.authorizer = DummyAuthorizer()
Handler.authorizer.add_user("somebody", "a password", config["root"], perm="elradfmwMT")
if encrypted:
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.use_certificate_chain_file(config["certificate"] + ".pem")
    context.use_privatekey_file(config["certificate"] + ".key")
    context.set_session_id(b"icecore")
    if config["clients"]:
        context.load_verify_locations(config["clients"])
        must = SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT
        context.set_verify(must, lambda connection, certificate, error, depth, good: good)
    Handler.ssl_context = context
    Handler.tls_control_required = config["required"]
    Handler.tls_data_required = config["required"]
server = FTPServer(("127.0.0.1", config["port"]), Handler)
server.max_cons = config["connections"]
server.serve_forever()
