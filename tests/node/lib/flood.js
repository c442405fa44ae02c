// A process that sends bad requests of every kind to an admin address until it is ended: it keeps a number of
// connections of each kind open, and reopens them when they are closed.
import net from 'node:net';

const [port, each] = process.argv.slice(2).map(Number);
const KINDS = [
  'GET / HTTP/1.1\r\nHost: local',
  `GET /${'x'.repeat(100_000)} HTTP/1.1\r\nHost: localhost\r\n\r\n`,
  `GET / HTTP/1.1\r\nHost: localhost\r\n${'A: b\r\n'.repeat(5_000)}\r\n`,
  '\x16\x03\x01\0\xff\r\n\r\nGET\r\n\r\n',
  `POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n\r\n${'x'.repeat(200_000)}`,
  'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n'.repeat(100),
];

let connected = 0;

function open(bytes) {
  const socket = net.connect(port, '127.0.0.1', () => {
    socket.write(bytes);
    connected += 1;
    // Reported at full load: every kind was sent several times.
    if (connected === 2 * each * KINDS.length) process.send?.('open');
  });
  socket.on('error', () => {});
  socket.on('close', () => setTimeout(open, 50, bytes));
  socket.resume();
}
for (let n = 0; n < each; n += 1) KINDS.forEach((bytes) => open(bytes));
