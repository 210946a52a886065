# The sample app: app.py where there is Python, and else, as on the template mini, a
# page that a web server for files serves. It is on loopback only: this is for a first
# look from the same machine.
if command -v python3 >/dev/null; then
	exec python3 app.py
fi
mkdir /tmp/www
cat >/tmp/www/index.html <<END
<pre>
Hello from a sandbox of the Gilliam Hypervisor.

host name  $(hostname)
user       $(id -u):$(id -g)
process    $$
folder     $PWD
port       $PORT
</pre>
END
echo "sample app listens on port $PORT"
exec httpd -f -p "127.0.0.1:$PORT" -h /tmp/www
