/** The services by which programs beside the kubelet join it: messages as generated from the .proto files here. */
export * as devicePlugin from './generated/deviceplugin_pb.js';
export * as pluginRegistration from './generated/pluginregistration_pb.js';
export * as podResources from './generated/podresources_pb.js';
