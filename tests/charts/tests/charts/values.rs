//! Wrong values are refused with their path, right ones take effect.

use charts::{chart, helm, root};
use serde_json::Value;

use crate::{VARIATIONS, objects, service_names, title};

/// The message with which Helm refuses values.
fn refusal(arguments: &str) -> String {
    let arguments: Vec<&str> = arguments.split_whitespace().collect();
    match helm::template(&chart::umbrella(root()), &arguments).unwrap() {
        Ok(_) => panic!("{arguments:?} are taken"),
        Err(said) => said,
    }
}

/// Expects a finding under the name of its chart.
fn refuses(arguments: &str, chart: &str, finding: &str) {
    let said = refusal(arguments);
    let mut lines = said.lines().skip_while(|line| *line != format!("{chart}:")).skip(1);
    let found = lines.any(|line| line.trim_start() == format!("- {finding}"));
    assert!(found, "{arguments}: {chart}: {finding} is not in\n{said}");
}

#[test]
fn a_misspelt_value_is_refused_wherever_it_stands() {
    refuses("--set wroker.capacity=5", "worker-system", "at '': additional properties 'wroker' not allowed");
    refuses("--set worker.capasity=5", "worker", "at '': additional properties 'capasity' not allowed");
    refuses("--set worker.image.tagg=a", "worker", "at '/image': additional properties 'tagg' not allowed");
    refuses("--set global.mysqll.host=a", "worker-system", "at '/global': additional properties 'mysqll' not allowed");
    refuses(
        "--set global.mysql.databases.values.usr=a",
        "worker-system",
        "at '/global/mysql/databases/values': additional properties 'usr' not allowed",
    );
    refuses("--set mysql.storage.sise=1Gi", "mysql", "at '/storage': additional properties 'sise' not allowed");
}

#[test]
fn a_value_of_the_wrong_type_is_refused() {
    refuses("--set-string worker.capacity=5", "worker", "at '/capacity': got string, want integer");
    refuses("--set-json worker.capacity=1.5", "worker", "at '/capacity': got number, want integer");
    refuses("--set-string worker.enabled=false", "worker-system", "at '/worker/enabled': got string, want boolean");
    refuses("--set values-api.ingress=off", "values-api", "at '/ingress': got string, want object");
    refuses("--set worker.imagePullSecrets[0]=mine", "worker", "at '/imagePullSecrets/0': got string, want object");
}

#[test]
fn a_value_that_is_taken_away_is_missed() {
    refuses("--set worker.capacity=null", "worker", "at '': missing property 'capacity'");
    refuses("--set worker.pdb=null", "worker", "at '': missing property 'pdb'");
    refuses("--set worker.image.digest=null", "worker", "at '/image': missing property 'digest'");
    refuses("--set global.mysql.tls=null", "worker-system", "at '/global/mysql': missing property 'tls'");
}

#[test]
fn a_value_out_of_bounds_is_refused() {
    refuses("--set worker.capacity=-1", "worker", "at '/capacity': minimum: got -1, want 1");
    refuses("--set worker-manager.replicas=-1", "worker-manager", "at '/replicas': minimum: got -1, want 0");
    refuses("--set worker.shutdown.graceSeconds=-1", "worker", "at '/shutdown/graceSeconds': minimum: got -1, want 0");
    refuses(
        "--set global.mysql.port=70000",
        "worker-system",
        "at '/global/mysql/port': maximum: got 70,000, want 65,535",
    );
    refuses("--set values-api.service.port=0", "values-api", "at '/service/port': minimum: got 0, want 1");
    refuses(
        "--set values-api.service.nodePort=80",
        "values-api",
        "at '/service/nodePort': minimum: got 80, want 30,000",
    );
    refuses(
        "--set values-api.autoscaling.targetCPUUtilizationPercentage=101",
        "values-api",
        "at '/autoscaling/targetCPUUtilizationPercentage': maximum: got 101, want 100",
    );
    refuses(
        "--set worker-manager.deadAfterMilliseconds=2",
        "worker-manager",
        "at '/deadAfterMilliseconds': minimum: got 2, want 1,000",
    );
}

#[test]
fn a_value_that_is_none_of_its_kind_is_refused() {
    refuses(
        "--set worker-manager.scaling.mode=automatic",
        "worker-manager",
        "at '/scaling/mode': value must be one of 'auto', 'manual'",
    );
    refuses(
        "--set global.mysql.tls.mode=on",
        "worker-system",
        "at '/global/mysql/tls/mode': value must be one of 'disabled', 'preferred', 'required', 'verify_ca', \
         'verify_identity'",
    );
    refuses(
        "--set worker.image.pullPolicy=Sometimes",
        "worker",
        "at '/image/pullPolicy': value must be one of 'Always', 'IfNotPresent', 'Never'",
    );
    refuses(
        "--set values-api.service.type=NodePorts",
        "values-api",
        "at '/service/type': value must be one of 'ClusterIP', 'NodePort', 'LoadBalancer'",
    );
    refuses(
        "--set worker.image.digest=sha256:abc",
        "worker",
        "at '/image/digest': 'sha256:abc' does not match pattern '^$|^sha256:[0-9a-f]{64}$'",
    );
    refuses(
        "--set worker.pdb.maxUnavailable=150%",
        "worker",
        "at '/pdb/maxUnavailable': '150%' does not match pattern '^([1-9]?[0-9]|100)%$'",
    );
}

/// The worker-manager owns them.
#[test]
fn the_worker_takes_no_replicas() {
    refuses("--set worker.replicas=3", "worker", "at '': additional properties 'replicas' not allowed");
}

/// numbers.txt has one writer.
#[test]
fn there_is_one_counting_server() {
    refuses("--set counting-server.replicas=2", "counting-server", "at '/replicas': value must be 1");
    refuses("--set counting-server.replicas=0", "counting-server", "at '/replicas': value must be 1");
}

#[test]
fn a_wrong_volume_is_refused() {
    refuses(
        "--set counting-server.persistence.retention=Keep",
        "counting-server",
        "at '/persistence/retention': value must be one of 'Retain', 'Delete'",
    );
    refuses(
        "--set counting-server.persistence.size=big",
        "counting-server",
        "at '/persistence/size': 'big' does not match pattern '^[0-9]+([.][0-9]+)?([KMGTPE]i?|k|m)?$'",
    );
}

fn fails(arguments: &str, sentence: &str) {
    let said = refusal(arguments);
    assert!(said.contains(sentence), "{said}");
}

#[test]
fn what_cannot_be_together_is_refused_in_a_sentence() {
    fails(
        "--set global.mysql.bundled=false",
        "there is no database. Set global.mysql.host to your MySQL's or MariaDB's address, or \
         global.mysql.bundled=true in the worker-system chart.",
    );
    fails(
        "--set global.mysql.host=db.example.com",
        "global.mysql.host is set: then set global.mysql.bundled=false too, or nothing would use the bundled MySQL.",
    );
    fails("--set worker-manager.scaling.min=51", "worker-manager.scaling: min is 51, more than max, 50.");
    fails(
        "--set values-api.autoscaling.minReplicas=6",
        "values-api.autoscaling: minReplicas is 6, more than maxReplicas, 5.",
    );
    fails("--set values-api.httpRoute.enabled=true", "values-api.httpRoute.parentRefs: name the Gateway");
    fails("--set service-app.keda.enabled=true", "keda.enabled and autoscaling.enabled are both true");
    fails(
        "--set round-robin-server.enabled=false",
        "round-robin-client has no server: set round-robin-client.serverUrl",
    );
    fails("--set round-robin-server.service.port=80", "round-robin-server.service.port is 80 and round-robin-client");
    fails("--set counting-server.enabled=false", "counting-client has no server: set counting-client.serverUrl");
    fails("--set counting-server.service.port=80", "counting-server.service.port is 80 and counting-client");
    fails("--set worker.capacity=10", "worker.capacity is 10 and worker-manager.capacity is 20");
    fails(
        "--set global.mysql.tls.mode=verify_ca",
        "global.mysql.tls.mode is verify_ca: then global.mysql.tls.caSecret.name must name the Secret",
    );
}

#[test]
fn the_linter_has_nothing_to_say() {
    helm::lint(&chart::umbrella(root()), &[]).unwrap().unwrap();
    for variation in VARIATIONS.iter().filter(|variation| variation.subchart.is_some()) {
        helm::lint(&variation.folder(), &variation.split_arguments()).unwrap().expect(&variation.name);
    }
}

#[test]
fn every_install_of_the_whole_has_notes() {
    for variation in VARIATIONS.iter().filter(|variation| variation.subchart.is_none()) {
        let printed = helm::install(&variation.folder(), &variation.split_arguments()).unwrap().expect(&variation.name);
        let (_, notes) = printed.split_once("\nNOTES:\n").expect(&variation.name);
        assert!(!notes.contains("<no value>") && !notes.contains("%!"), "{}: {notes}", variation.name);
    }
}

/// An object of a variation.
fn object(variation: &str, wanted: &str) -> Option<&'static Value> {
    objects(variation).iter().find(|object| title(object) == wanted)
}

fn container(object: &Value) -> &Value {
    &object["spec"]["template"]["spec"]["containers"][0]
}

fn variable(object: &Value, name: &str) -> Value {
    let env = container(object)["env"].as_array().unwrap();
    env.iter().find(|variable| variable["name"] == name).expect(name).clone()
}

#[test]
fn a_chart_that_is_off_leaves_nothing_behind() {
    let stores =
        [("without MySQL", "mysql"), ("external Redis with TLS", "redis"), ("external RabbitMQ with TLS", "rabbitmq")];
    let stores = stores.into_iter().map(|(variation, chart)| (variation.to_owned(), chart.to_owned()));
    for (variation, chart) in service_names().into_iter().map(|name| (format!("without {name}"), name)).chain(stores) {
        let label = "app.kubernetes.io/name";
        let count =
            |objects: &[Value]| objects.iter().filter(|object| object["metadata"]["labels"][label] == *chart).count();
        assert!(count(objects("default")) > 0);
        assert_eq!(count(objects(&variation)), 0, "{chart}");
    }
}

#[test]
fn another_database_is_used_as_it_was_described() {
    let worker = object("external MySQL with TLS", "Deployment worker").unwrap();
    let url = variable(worker, "DATABASE_URL");
    let wanted = "mysql://db.example.com:3307/values?ssl-mode=verify_identity&ssl-ca=";
    assert!(url["value"].as_str().unwrap().starts_with(wanted), "{url}");
    assert_eq!(variable(worker, "DATABASE_USER")["value"], "values");
    let secret = &variable(worker, "DATABASE_PASSWORD")["valueFrom"]["secretKeyRef"];
    assert_eq!(*secret, serde_json::json!({ "name": "mine", "key": "password" }));
    let volumes = worker["spec"]["template"]["spec"]["volumes"].as_array().unwrap();
    assert!(volumes.iter().any(|volume| volume["secret"]["secretName"] == "database-ca"), "{volumes:?}");
    let policy = object("external MySQL with TLS", "NetworkPolicy worker-to-mysql").unwrap();
    assert_eq!(policy["spec"]["egress"][0]["ports"][0]["port"], 3307);
}

#[test]
fn another_redis_is_used_as_it_was_described() {
    let url = |variation: &str| variable(object(variation, "Deployment visit-counter").unwrap(), "REDIS_URL");
    assert_eq!(url("external Redis with TLS")["value"], "rediss://redis.example.com:6380/2");
    assert_eq!(url("a Redis without password")["value"], "redis://redis.example.com:6379/0");
    let policy = object("external Redis with TLS", "NetworkPolicy visit-counter-to-redis").unwrap();
    assert_eq!(policy["spec"]["egress"][0]["ports"][0]["port"], 6380);
    // The names that its users' Secrets have, and nothing that would outdo them.
    let counter = container(object("a Secret of the visitors' Redis", "Deployment visit-counter").unwrap());
    assert_eq!(counter["envFrom"][0]["secretRef"]["name"], "devops-challenge-env");
    assert!(!counter["env"].as_array().unwrap().iter().any(|it| it["name"].as_str().unwrap().starts_with("REDIS_")));
}

#[test]
fn another_rabbitmq_is_used_as_it_was_described() {
    let main_app = object("external RabbitMQ with TLS", "Deployment main-app").unwrap();
    assert_eq!(variable(main_app, "AMQP_URL")["value"], "amqps://mq.example.com:5671/%2Fteam");
    assert_eq!(variable(main_app, "AMQP_USER")["value"], "us");
    let secret = &variable(main_app, "AMQP_PASSWORD")["valueFrom"]["secretKeyRef"];
    assert_eq!(*secret, serde_json::json!({ "name": "mine", "key": "password" }));
    let bundled = object("default", "Deployment service-app").unwrap();
    assert_eq!(variable(bundled, "AMQP_URL")["value"], "amqp://rabbitmq:5672/%2F");
}

/// A password may contain any characters, so it must not become a part of a URL or a command.
#[test]
fn secrets_go_into_variables_of_their_own() {
    for object in objects("default").iter().filter(|object| object["kind"] == "Deployment") {
        let variables = container(object)["env"].as_array().cloned().unwrap_or_default();
        for value in variables.iter().filter_map(|variable| variable["value"].as_str()) {
            assert!(!value.contains("$("), "{value}");
        }
    }
}

/// Connections over a port of a node or a load balancer come from addresses that are no pod's.
#[test]
fn a_service_with_an_address_of_its_own_takes_connections_from_outside_of_the_cluster() {
    let peers = |variation: &str| {
        let policy = object(variation, "NetworkPolicy values-api-http").unwrap();
        policy["spec"]["ingress"][0].get("from").cloned()
    };
    assert!(peers("default").is_some());
    assert_eq!(peers("a port on every node"), None);
    assert_eq!(peers("a load balancer for some"), None);
    let service = object("a load balancer for some", "Service values-api").unwrap();
    assert_eq!(service["metadata"]["annotations"]["a"], "b");
    assert_eq!(service["spec"]["loadBalancerSourceRanges"], serde_json::json!(["10.0.0.0/8"]));
    let on_nodes = object("a port on every node", "Service values-api").unwrap();
    assert_eq!(on_nodes["spec"].get("loadBalancerSourceRanges"), None);
}

#[test]
fn the_client_connects_to_the_server_that_the_values_name() {
    let client = |variation: &str| object(variation, "StatefulSet round-robin-client").unwrap();
    assert_eq!(variable(client("default"), "SERVER_URL")["value"], "http://round-robin-server:8002");
    assert_eq!(variable(client("a server elsewhere"), "SERVER_URL")["value"], "https://server.example.com");
    let egress = |variation: &str, name: &str| {
        object(variation, &format!("NetworkPolicy {name}")).unwrap()["spec"]["egress"][0].clone()
    };
    let within = egress("default", "round-robin-client-to-round-robin-server");
    let server =
        serde_json::json!([{ "podSelector": { "matchLabels": { "app.kubernetes.io/name": "round-robin-server" } } }]);
    assert_eq!((&within["ports"][0]["port"], &within["to"]), (&8002.into(), &server));
    let elsewhere = egress("a server elsewhere", "round-robin-client-to-server");
    assert_eq!((&elsewhere["ports"][0]["port"], elsewhere.get("to")), (&443.into(), None));
}

/// `kubectl delete pod -l app.kubernetes.io/name=counting-client,role=client1` selects one pod.
#[test]
fn each_role_of_the_count_has_a_pod_of_its_own() {
    for role in ["client1", "client2"] {
        let deployment = object("default", &format!("Deployment counting-{role}")).unwrap();
        assert_eq!(deployment["spec"]["replicas"], 1);
        assert_eq!(deployment["spec"]["strategy"], serde_json::json!({ "type": "Recreate" }));
        let labels = &deployment["spec"]["template"]["metadata"]["labels"];
        assert_eq!((&labels["app.kubernetes.io/name"], &labels["role"]), (&"counting-client".into(), &role.into()));
        assert_eq!(variable(deployment, "SERVER_URL")["value"], "http://counting-server:5000");
        assert_eq!(variable(deployment, "INTERVAL")["value"], "1s");
        let elsewhere = object("counting with a server elsewhere", &format!("Deployment counting-{role}")).unwrap();
        assert_eq!(variable(elsewhere, "SERVER_URL")["value"], "https://counting.example.com:8443");
    }
    let elsewhere = object("counting with a server elsewhere", "NetworkPolicy counting-client-to-server").unwrap();
    assert_eq!(elsewhere["spec"]["egress"][0]["ports"][0]["port"], 8443);
    assert_eq!(object("default", "Service counting-client"), None);
    assert!(object("monitoring", "Service counting-client").is_some());
}

#[test]
fn the_numbers_are_on_a_volume_that_outlives_the_release() {
    let server = |variation: &str| object(variation, "StatefulSet counting-server").unwrap();
    let volumes = |variation: &str| server(variation)["spec"]["template"]["spec"]["volumes"].clone();
    let retained = |variation: &str| server(variation)["spec"].get("persistentVolumeClaimRetentionPolicy").cloned();
    let claim = &server("default")["spec"]["volumeClaimTemplates"][0];
    assert_eq!(claim["spec"]["accessModes"], serde_json::json!(["ReadWriteOnce"]));
    assert_eq!(
        (&claim["spec"]["resources"]["requests"]["storage"], claim["spec"].get("storageClassName")),
        (&"1Gi".into(), None)
    );
    // Anything that a new version changes would make every upgrade fail.
    let labels = serde_json::json!({ "app.kubernetes.io/name": "counting-server", "app.kubernetes.io/instance": "worker-system" });
    assert_eq!(claim["metadata"]["labels"], labels);
    assert_eq!(retained("default"), Some(serde_json::json!({ "whenDeleted": "Retain", "whenScaled": "Retain" })));
    assert_eq!(variable(server("default"), "DATA_DIR")["value"], "/data");
    assert_eq!(volumes("default").as_array().unwrap().len(), 1);

    let other = "numbers on a volume of another class";
    let claim = &server(other)["spec"]["volumeClaimTemplates"][0]["spec"];
    assert_eq!(
        (&claim["resources"]["requests"]["storage"], &claim["storageClassName"]),
        (&"20Gi".into(), &"fast".into())
    );
    assert_eq!(retained(other), Some(serde_json::json!({ "whenDeleted": "Delete", "whenScaled": "Retain" })));

    let without = "numbers that end with the pod";
    assert_eq!(server(without)["spec"].get("volumeClaimTemplates"), None);
    assert_eq!(retained(without), None);
    assert_eq!(volumes(without)[1], serde_json::json!({ "name": "data", "emptyDir": { "sizeLimit": "1Gi" } }));
}

#[test]
fn notes_say_what_happens_to_the_numbers() {
    let notes = |arguments: &[&str]| helm::install(&chart::umbrella(root()), arguments).unwrap().unwrap();
    let lost = "numbers.txt is lost whenever the pod is replaced";
    assert!(!notes(&[]).contains(lost));
    assert!(notes(&["--set", "counting-server.persistence.enabled=false"]).contains(lost));
    let removed = "`helm uninstall` also removes the volume";
    assert!(!notes(&[]).contains(removed));
    assert!(notes(&["--set", "counting-server.persistence.retention=Delete"]).contains(removed));
}

/// A client is known by its name, so a pod that is replaced keeps it.
#[test]
fn a_client_keeps_its_name() {
    let client = object("three clients", "StatefulSet round-robin-client").unwrap();
    assert_eq!(client["spec"]["replicas"], 3);
    assert_eq!(variable(client, "CLIENT_ID")["valueFrom"]["fieldRef"]["fieldPath"], "metadata.name");
    let service = object("three clients", "Service round-robin-client").unwrap();
    assert_eq!(client["spec"]["serviceName"], service["metadata"]["name"]);
    assert_eq!(service["spec"]["clusterIP"], "None");
}

#[test]
fn messages_are_deleted_only_if_the_values_say_so() {
    let server = |variation: &str| object(variation, "Deployment round-robin-server").unwrap();
    let variables = container(server("default"))["env"].as_array().unwrap();
    assert!(!variables.iter().any(|variable| variable["name"] == "RETENTION"));
    assert_eq!(variable(server("default"), "QUANTUM")["value"], "1s");
    assert_eq!(variable(server("messages that are deleted"), "RETENTION")["value"], "7days");
    assert_eq!(variable(server("messages that are deleted"), "QUANTUM")["value"], "500ms");
}

#[test]
fn service_app_is_scaled_by_one_of_two() {
    assert!(object("default", "HorizontalPodAutoscaler service-app").is_some());
    assert_eq!(object("default", "ScaledObject service-app"), None);
    assert_eq!(object("scaling by queue length", "HorizontalPodAutoscaler service-app"), None);
    let scaled = object("scaling by queue length", "ScaledObject service-app").unwrap();
    assert_eq!(scaled["spec"]["triggers"].as_array().unwrap().len(), 3);
    let asked = &scaled["spec"]["triggers"][0]["metadata"];
    assert_eq!(asked["host"], "amqp://rabbitmq.worker-system:5672/%2F");
    let deployment = object("scaling by queue length", "Deployment service-app").unwrap();
    assert_eq!(deployment["spec"].get("replicas"), None);
}

#[test]
fn a_secret_that_exists_is_used_and_not_made() {
    for name in ["mysql", "mysql-values"] {
        assert!(object("default", &format!("Secret {name}")).is_some());
        assert_eq!(object("existing secrets", &format!("Secret {name}")), None);
    }
    let worker = object("existing secrets", "Deployment worker").unwrap();
    let secret = &variable(worker, "DATABASE_PASSWORD")["valueFrom"]["secretKeyRef"];
    assert_eq!(*secret, serde_json::json!({ "name": "mine", "key": "pw" }));
}

#[test]
fn images_come_from_where_the_values_say() {
    let image = |variation: &str, wanted: &str| container(object(variation, wanted).unwrap())["image"].clone();
    assert_eq!(image("default", "Deployment worker"), "worker-system/worker:0.1.0");
    assert_eq!(
        image("another registry and tag", "Deployment worker"),
        "registry.example.com/team/worker-system/worker:1.2"
    );
    assert_eq!(
        image("an image by digest", "Deployment worker"),
        "worker-system/worker:0.1.0@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
    );
    // The store's image is none of ours.
    assert_eq!(image("another registry and tag", "StatefulSet mysql"), "mysql:9.7");
}

#[test]
fn pull_secrets_go_to_all_pods_or_to_one() {
    let secrets = |variation: &str, wanted: &str| {
        object(variation, wanted).unwrap()["spec"]["template"]["spec"].get("imagePullSecrets").cloned()
    };
    let registry = Some(serde_json::json!([{ "name": "registry" }]));
    for wanted in ["Deployment worker", "Deployment values-api", "StatefulSet mysql"] {
        assert_eq!(secrets("pull secrets for all", wanted), registry, "{wanted}");
    }
    assert_eq!(secrets("pull secrets for one", "Deployment worker"), registry);
    assert_eq!(secrets("pull secrets for one", "Deployment values-api"), None);
}

#[test]
fn people_get_in_as_the_values_say() {
    let service = object("a port on every node", "Service values-api").unwrap();
    assert_eq!(service["spec"]["type"], "NodePort");
    assert_eq!(service["spec"]["ports"][0]["nodePort"], 30080);
    let route = object("a route of the Gateway API", "HTTPRoute values-api").unwrap();
    assert_eq!(route["spec"]["hostnames"][0], "values-api.my-cluster.com");
    assert_eq!(route["spec"]["parentRefs"][0]["name"], "gateway");
    assert_eq!(object("no ingress", "Ingress values-api"), None);
    let ingress = object("an ingress with everything", "Ingress values-api").unwrap();
    assert_eq!(ingress["spec"]["tls"][0]["secretName"], "tls");
}

#[test]
fn the_number_of_pods_is_the_values_where_nothing_scales() {
    let api = object("fixed number of replicas", "Deployment values-api").unwrap();
    assert_eq!(api["spec"]["replicas"], 3);
    assert_eq!(object("fixed number of replicas", "HorizontalPodAutoscaler values-api"), None);
    let manager = object("scaling by hand", "Deployment worker-manager").unwrap();
    assert_eq!(variable(manager, "SCALING_MODE")["value"], "manual");
}
