# Stands in for the official nats image where no registry of images can be reached: npm's nats-server and nothing else.
# The build context is the folder that holds the program.
FROM scratch
COPY nats-server /nats-server
ENV PATH=/
EXPOSE 4222 6222 8222
ENTRYPOINT ["/nats-server"]
