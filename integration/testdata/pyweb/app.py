"""A Python web app, for the tests."""

import http.server
import os


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers who it is; its request log goes to the standard error."""

    def do_GET(self):
        body = f"pyweb on {os.uname().nodename}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


server = http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler)
print("pyweb listens", flush=True)
server.serve_forever()
