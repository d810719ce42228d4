DROP TABLE feed, video;
