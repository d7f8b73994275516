"""The bus: one port, two adapters (embedded log tables, Apache Kafka), one contract suite."""
