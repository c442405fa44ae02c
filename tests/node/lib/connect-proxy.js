// A small HTTP proxy for CONNECT only, as a process of its own: `node connect-proxy.js [LOCAL ADDRESS]` prints
// its port on the first line and each tunnel on one more, and connects from that address.
import http from 'node:http';
import net from 'node:net';

const [localAddress] = process.argv.slice(2);
const server = http.createServer((_, res) => { res.statusCode = 405; res.end('CONNECT only'); });
server.on('connect', (req, client, head) => {
  const [host, port] = req.url.split(':');
  const service = net.connect({ host, port: Number(port), localAddress }, () => {
    console.log(`tunnel ${req.url}`);
    client.write('HTTP/1.1 200 Connection established\r\n\r\n');
    if (head.length) service.write(head);
    client.pipe(service).pipe(client);
  });
  for (const [end, other] of [[client, service], [service, client]]) end.on('error', () => other.destroy()).on('close', () => other.destroy());
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
