"""What the scenarios, the quickstart and the benchmark share: servers, the relay, comparison."""
