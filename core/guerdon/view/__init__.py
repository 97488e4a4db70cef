"""The viewer: a local web application on runs, while they train and after."""
