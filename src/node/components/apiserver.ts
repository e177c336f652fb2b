import { createExtensions, loadApiServerPki, startApiServer } from '../../controlplane/index.ts';
import { defineComponent } from '../component-module.ts';
import { UsageError } from '../flags.ts';
import { commonFlags, readNumber } from './common.ts';

export default defineComponent({
  name: 'apiserver',
  summary: 'Serves the Kubernetes API from a SQLite file. The certificate directory is one that `deckhand up` made.',
  flags: {
    'data-dir': { type: 'string', value: 'DIR', help: 'where the store is kept' },
    'cert-dir': {
      type: 'string',
      value: 'DIR',
      help: 'certificates and keys: ca, apiserver, apiserver-kubelet-client, sa',
    },
    'bind-address': { type: 'string', value: 'ADDRESS', default: '0.0.0.0', help: 'where to listen' },
    'secure-port': { type: 'string', value: 'PORT', default: '6443', help: 'the port to listen on' },
    'advertise-address': { type: 'string', value: 'ADDRESS', help: "the address of the kubernetes Service's endpoint" },
    'service-cluster-ip-range': {
      type: 'string',
      value: 'CIDR',
      default: '10.96.0.0/16',
      help: 'addresses of Services',
    },
    'service-node-port-range': {
      type: 'string',
      value: 'FIRST-LAST',
      default: '30000-32767',
      help: 'node ports of Services',
    },
    ...commonFlags,
  },
  async start(values, context) {
    if (!values['data-dir'] || !values['cert-dir']) throw new UsageError('--data-dir and --cert-dir are needed');
    const pki = await loadApiServerPki(values['cert-dir']);
    const port = readNumber('secure-port', values['secure-port'], 1, 65_535);
    const advertiseAddress =
      values['advertise-address'] ?? (values['bind-address'] === '0.0.0.0' ? '127.0.0.1' : values['bind-address']);
    const [first, last] = values['service-node-port-range'].split('-').map(Number);
    if (!first || !last || first > last || last > 65_535)
      throw new UsageError(`--service-node-port-range ${values['service-node-port-range']} must be FIRST-LAST`);
    const extensions = createExtensions(
      {
        serviceCidrs: values['service-cluster-ip-range'].split(','),
        nodePorts: [first, last],
        advertise: { address: advertiseAddress, port },
        serviceAccountKey: pki.serviceAccountKey,
        kubeletClient: pki.kubeletClient,
        clientCa: pki.tls.clientCa,
      },
      context,
    );
    return startApiServer(
      {
        listen: { host: values['bind-address'], port },
        dataDir: values['data-dir'],
        tls: pki.tls,
        extensions,
        advertiseAddress,
      },
      context,
    );
  },
});
