import { gatewayNames } from "./callbacks.ts";

/**
 * What programs written for OpenFaaS expect at fixed places, for every sandbox: `guest/place.mjs` lays out what the links lead to,
 * `guest/gateway.mjs` relays to the socket in the folder.
 */
export function openfaasFixtures(socketFolder: string) {
  return {
    folders: { "/run/virga/openfaas": socketFolder },
    links: {
      "/home/app": "/tmp/.openfaas/home-app",
      "/app": "/tmp/.openfaas/app",
      "/var/openfaas": "/tmp/.openfaas",
    },
    hostNames: [...gatewayNames],
  };
}

export const gatewaySocket = "gateway.sock";
