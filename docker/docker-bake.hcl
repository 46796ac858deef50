// All images at once, from the root of the repository:
//   docker buildx bake -f docker/docker-bake.hcl
// The services share their first stage, so the workspace is compiled once.

variable "REPOSITORY" {
  default     = "worker-system"
  description = "What stands before the service's name; a registry and a path to push to."
}

variable "TAG" {
  default = "0.1.0"
}

group "default" {
  targets = ["service"]
}

target "service" {
  name       = service
  matrix     = { service = ["worker-manager", "worker", "values-api", "visit-counter", "main-app", "service-app", "worker-system"] }
  context    = "."
  dockerfile = "services/${service}/Dockerfile"
  tags       = ["${REPOSITORY}/${service}:${TAG}"]
}
