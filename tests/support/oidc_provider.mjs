// Panva's certified OpenID provider as two issuers of one process: one shaped as an Okta custom authorization server, one as an
// Auth0 tenant. The protocol, the keys and the signatures are the provider's own; only names and claims are bent here.
// Arguments: the folder that holds node_modules, the loopback port to listen on, and (if need be) a file with the private JWK of
// the first issuer, which otherwise makes its own.
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const [folder, port, keyFile] = process.argv.slice(2);
const entry = createRequire(`${folder}/`).resolve('oidc-provider');
const { default: Provider } = await import(pathToFileURL(entry));

const origin = `http://127.0.0.1:${port}`;
const okta = `${origin}/oauth2/default`;
const auth0 = `${origin}/`; // a real tenant's issuer ends in a slash too
const secret = 'not-a-secret';

function signingKey() {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  return { ...privateKey.export({ format: 'jwk' }), kid: randomUUID(), use: 'sig', alg: 'RS256' };
}

function configuration({ clients, audience, scope, shape, paths, key = signingKey() }) {
  return {
    jwks: { keys: [key] },
    cookies: { keys: [randomUUID()] },
    clients: clients.map((client_id) => ({
      client_id,
      client_secret: secret,
      grant_types: ['client_credentials'],
      redirect_uris: [],
      response_types: [],
    })),
    scopes: scope.split(' '),
    ttl: { ClientCredentials: 3600 },
    routes: paths,
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => audience,
        useGrantedResource: () => true,
        getResourceServerInfo: () => ({ scope, audience, accessTokenTTL: 3600, accessTokenFormat: 'jwt', jwt: { sign: { alg: 'RS256' } } }),
      },
    },
    formats: { customizers: { jwt: (_context, _token, jwt) => shape(jwt) } },
  };
}

// https://developer.okta.com/docs/reference/api/oidc/ : no `typ`, `scp` is a list, the client is `cid`, and `sub` repeats it.
function asOkta(jwt) {
  const { scope, client_id: client, jti, ...rest } = jwt.payload;
  jwt.header = { typ: undefined };
  jwt.payload = { ver: 1, jti: `AT.${jti}`, ...rest, sub: client, cid: client, scp: scope.split(' '), groups: ['Everyone', client] };
}

// A machine's token has one audience and `gty`; a person's has the API and the userinfo endpoint, and claims of an Action
// are named by a URL.
function asAuth0(jwt) {
  const { client_id: client, jti, aud, ...rest } = jwt.payload;
  jwt.header = { typ: 'JWT' };
  const person = { sub: 'auth0|65f0c1', aud: [aud, `${auth0}userinfo`], 'https://acme.example/team': 'reporting' };
  const machine = { sub: `${client}@clients`, aud, gty: 'client-credentials' };
  jwt.payload = { ...rest, ...(client === 'web' ? person : machine), azp: client };
}

const oktaProvider = new Provider(okta, configuration({
  clients: ['agent', 'reporter'],
  audience: 'api://gateway',
  scope: 'workflows.start workflows.view',
  shape: asOkta,
  key: keyFile && JSON.parse(readFileSync(keyFile)),
  paths: { token: '/v1/token', jwks: '/v1/keys', authorization: '/v1/authorize' },
}));
const auth0Provider = new Provider(auth0, configuration({
  clients: ['machine', 'web'],
  audience: 'https://gateway.acme.example',
  scope: 'start:workflows view:workflows',
  shape: asAuth0,
  paths: { token: '/oauth/token', jwks: '/.well-known/jwks.json', authorization: '/authorize' },
}));
const asOktaPath = oktaProvider.callback();
const asAuth0Path = auth0Provider.callback();

createServer((request, response) => {
  if (!request.url.startsWith('/oauth2/default/')) return asAuth0Path(request, response);
  request.originalUrl = request.url; // the provider derives its mount path, and so its own URLs, from the difference
  request.url = request.url.slice('/oauth2/default'.length);
  return asOktaPath(request, response);
}).listen(Number(port), '127.0.0.1');
