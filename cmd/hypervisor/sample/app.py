"""The sample app: a small web server in one sandbox of its own."""

import http.server
import os
import signal
import sys


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = "".join(line + "\n" for line in (
            "Hello from a sandbox of the Gilliam Hypervisor.",
            "",
            f"host name  {os.uname().nodename}",
            f"user       {os.getuid()}:{os.getgid()}",
            f"process    {os.getpid()}",
            f"folder     {os.getcwd()}",
            f"port       {os.environ['PORT']}",
        )).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
port = int(os.environ["PORT"])
print(f"sample app listens on port {port}", flush=True)
# Loopback only: this is for a first look from the same machine.
http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
