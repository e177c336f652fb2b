/** The proxy under the name of the program whose place it takes: `kube-proxy --config=FILE` is `deckhand proxy --config=FILE`. */
process.argv.splice(2, 0, 'proxy');
await import('./main.ts');
