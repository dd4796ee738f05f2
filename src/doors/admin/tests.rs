use quorate_control::topology::is_keyspace_name;
