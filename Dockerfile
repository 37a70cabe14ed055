# One image for `serve` and `worker`; mount the site's configuration and a volume for the store.
FROM node:20-bookworm-slim AS pages
WORKDIR /src/node/web/pages
COPY node/web/pages/ ./
RUN npm ci --no-audit --no-fund && npm run build

FROM python:3.11-slim-bookworm
WORKDIR /opt/marrow-node
COPY --from=pages /usr/local/bin/node /usr/local/bin/node
COPY --from=pages /usr/local/lib/node_modules /usr/local/lib/node_modules
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY config config
COPY pipeline pipeline
COPY dicom_io dicom_io
COPY hl7 hl7
COPY pdf pdf
COPY node node
COPY --from=pages /src/node/web/static node/web/static
RUN ln -s /usr/local/lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm \
    && pip install --no-cache-dir --constraint constraints.txt --editable . \
    && python -m pipeline.bundle fetch-sam \
    && rm -rf /usr/local/bin/npm /usr/local/bin/node /usr/local/lib/node_modules \
    && useradd --create-home marrow && install -d -o marrow /var/lib/marrow-node
USER marrow
VOLUME /var/lib/marrow-node
EXPOSE 11112 2575 8000
ENTRYPOINT ["marrow-node"]
CMD ["serve", "--config", "/etc/marrow-node/node.toml"]
