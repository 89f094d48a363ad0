"""Writes bin/kafka-*.sh for the classes that the jars of a Kafka have: tools.py HOME OPTIONS."""

import pathlib
import sys
import zipfile

# A tool and its class, the newest name first: they have moved from the core to kafka-tools, one line at a time.
TOOLS = {
    "kafka-acls": ["org.apache.kafka.tools.AclCommand", "kafka.admin.AclCommand"],
    "kafka-broker-api-versions": ["org.apache.kafka.tools.BrokerApiVersionsCommand", "kafka.admin.BrokerApiVersionsCommand"],
    "kafka-client-metrics": ["org.apache.kafka.tools.ClientMetricsCommand"],
    "kafka-cluster": ["org.apache.kafka.tools.ClusterTool"],
    "kafka-configs": ["org.apache.kafka.tools.ConfigCommand", "kafka.admin.ConfigCommand"],
    "kafka-console-consumer": ["org.apache.kafka.tools.consumer.ConsoleConsumer"],
    "kafka-console-producer": ["org.apache.kafka.tools.ConsoleProducer", "kafka.tools.ConsoleProducer"],
    "kafka-consumer-groups": ["org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"],
    "kafka-consumer-perf-test": ["org.apache.kafka.tools.ConsumerPerformance"],
    "kafka-delegation-tokens": ["org.apache.kafka.tools.DelegationTokenCommand"],
    "kafka-delete-records": ["org.apache.kafka.tools.DeleteRecordsCommand"],
    "kafka-dump-log": ["org.apache.kafka.tools.DumpLogSegments", "kafka.tools.DumpLogSegments"],
    "kafka-e2e-latency": ["org.apache.kafka.tools.EndToEndLatency"],
    "kafka-features": ["org.apache.kafka.tools.FeatureCommand"],
    "kafka-get-offsets": ["org.apache.kafka.tools.GetOffsetShell"],
    "kafka-leader-election": ["org.apache.kafka.tools.LeaderElectionCommand"],
    "kafka-log-dirs": ["org.apache.kafka.tools.LogDirsCommand"],
    "kafka-metadata-quorum": ["org.apache.kafka.tools.MetadataQuorumCommand"],
    "kafka-producer-perf-test": ["org.apache.kafka.tools.ProducerPerformance"],
    "kafka-reassign-partitions": ["org.apache.kafka.tools.reassign.ReassignPartitionsCommand"],
    "kafka-replica-verification": ["org.apache.kafka.tools.ReplicaVerificationTool"],
    "kafka-storage": ["org.apache.kafka.tools.StorageTool", "kafka.tools.StorageTool"],
    "kafka-streams-application-reset": ["org.apache.kafka.tools.StreamsResetter"],
    "kafka-topics": ["org.apache.kafka.tools.TopicCommand"],
    "kafka-transactions": ["org.apache.kafka.tools.TransactionsCommand"],
    "kafka-verifiable-consumer": ["org.apache.kafka.tools.VerifiableConsumer"],
    "kafka-verifiable-producer": ["org.apache.kafka.tools.VerifiableProducer"],
    "zookeeper-shell": ["org.apache.zookeeper.ZooKeeperMainWithTlsSupportForKafka"],
}
# What one line has and another does not.
NOT_EVERYWHERE = {"kafka-replica-verification", "zookeeper-shell"}

SCRIPT = """#!/bin/sh
exec java ${{KAFKA_HEAP_OPTS:--Xmx256m}} -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:-UsePerfData \\
    ${{KAFKA_LOG4J_OPTS:-{options}}} ${{KAFKA_OPTS:-}} -cp '/opt/kafka/libs/*' {name} "$@"
"""


def main(home, options):
    home = pathlib.Path(home)
    classes = set()
    for jar in (home / "libs").glob("*.jar"):
        classes.update(zipfile.ZipFile(jar).namelist())
    for tool, names in TOOLS.items():
        there = [name for name in names if name.replace(".", "/") + ".class" in classes]
        if there:
            (home / "bin" / f"{tool}.sh").write_text(SCRIPT.format(options=options, name=there[0]))
        elif tool not in NOT_EVERYWHERE:
            sys.exit(f"{tool}: none of {', '.join(names)} is in the jars")
    # Any other class, by its name.
    script = SCRIPT.format(options=options, name="").replace("  \"$@\"", ' "$@"')
    (home / "bin" / "kafka-run-class.sh").write_text(script)


main(*sys.argv[1:])
