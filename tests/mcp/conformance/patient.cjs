// The suite runs all its scenarios in one process. On a busy machine that process may be late, and
// close an idle connection, as Node does after five seconds, while a request is under way.
const http = require("node:http");
const { createServer } = http;

http.createServer = (...args) => {
  const server = createServer(...args);
  server.keepAliveTimeout = 0;
  return server;
};
require("node:module").syncBuiltinESMExports();
