"""What tests share: a real engine, a real service (master, workers, repository), ISOs made by the tools."""
