"""What runs: model files, their manifests, the engines that execute them and the tasks that give them meaning."""
