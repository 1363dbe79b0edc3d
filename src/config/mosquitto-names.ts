// What the keys of a mosquitto.conf are called here. Who moves a listener over writes them as he knows them, and the
// nearest spelling would lead him to another key.

const IN_MQTT: Readonly<Record<string, string>> = {
  port: '`listen = "host:port"`',
  bind_address: '`listen = "host:port"`',
  listener: '`listen = "host:port"`, and `listen` of [mqtt.tls] and of [mqtt.websocket]',
  socket_domain: '`listen = "host:port"`',
  protocol: '[mqtt.websocket] with `listen`',
  acl_file: '[[mqtt.acl]] with `publish` and `subscribe`',
  cafile: '`ca` of [mqtt.tls]',
  capath: '`ca` of [mqtt.tls]',
  certfile: '`cert` of [mqtt.tls]',
  keyfile: '`key` of [mqtt.tls]',
  require_certificate: '`ca` of [mqtt.tls], which always asks clients for a certificate',
  use_identity_as_username: '`user_from_certificate` of [mqtt.tls]',
  max_queued_messages: '`queue_messages_max`',
  max_queued_bytes: '`queue_bytes_max`',
  max_inflight_messages: '`receive_maximum`',
  max_keepalive: '`keep_alive_max`',
  persistent_client_expiration: '`session_expiry_max`',
  message_size_limit: '`max_packet_size`',
  persistence: '`data_dir` of [gateway]: everything is kept, always',
  persistence_location: '`data_dir` of [gateway]',
  autosave_interval: '`data_dir` of [gateway]: everything is kept at once',
};

/** The end of a message about the unknown `key` of the table `at`; undefined where mosquitto has no such key. */
export function mosquittoHint(at: string, key: string): string | undefined {
  if (!/^mqtt(\.tls|\.websocket)?$/.test(at) || !Object.hasOwn(IN_MQTT, key)) return undefined;
  return `; mosquitto's \`${key}\` is here ${IN_MQTT[key]}`;
}
