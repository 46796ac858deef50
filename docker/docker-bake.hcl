// All images at once, from the root of the repository:
//   docker buildx bake -f docker/docker-bake.hcl
// The services share the stages before their last one, so the workspace is compiled once.

variable "REPOSITORY" {
  default     = "worker-system"
  description = "What stands before the service's name; a registry and a path to push to."
}

variable "TAG" {
  default = "0.1.0"
}

variable "PROGRAMS" {
  default     = "compiled"
  description = "compiled: the build compiles the programs. prebuilt: it takes them from target/programs."
}

variable "PROFILE" {
  default     = "release"
  description = "The profile of Cargo.toml in which the build compiles the programs."
}

group "default" {
  targets = ["service"]
}

target "service" {
  name       = service
  matrix     = { service = ["worker-manager", "worker", "values-api", "visit-counter", "main-app", "service-app", "worker-system"] }
  context    = "."
  dockerfile = "services/${service}/Dockerfile"
  args       = { PROGRAMS = PROGRAMS, PROFILE = PROFILE }
  tags       = ["${REPOSITORY}/${service}:${TAG}"]
}
