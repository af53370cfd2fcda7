"""A TrainJob of Kubeflow Trainer v2: started and followed by the train step."""
