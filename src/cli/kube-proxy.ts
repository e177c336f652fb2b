/** The proxy under the name of the program whose place it takes: `kube-proxy --config=FILE` is `deckhand proxy --config=FILE`. */

// The first process of a container gets no signal that it does not listen to: one that is asked to end while it still loads its
// code would otherwise be waited for until it is killed.
process.on('SIGTERM', () => {
  if (process.listenerCount('SIGTERM') === 1) process.exit(143);
});
process.argv.splice(2, 0, 'proxy');
await import('./main.ts');
