module autossh.dev/test/support/cluster/pause

go 1.21
