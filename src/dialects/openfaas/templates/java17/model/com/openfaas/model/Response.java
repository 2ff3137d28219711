package com.openfaas.model;

import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.TreeMap;

public class Response implements IResponse {
    private byte[] body = new byte[0];
    private final Map<String, String> headers = new TreeMap<>(String.CASE_INSENSITIVE_ORDER);
    private String contentType = "";
    private int statusCode = 200;

    @Override
    public String getBody() {
        return new String(body, StandardCharsets.UTF_8);
    }

    @Override
    public void setBody(String body) {
        this.body = body == null ? new byte[0] : body.getBytes(StandardCharsets.UTF_8);
    }

    @Override
    public byte[] getBodyRaw() {
        return body;
    }

    @Override
    public void setBodyRaw(byte[] body) {
        this.body = body == null ? new byte[0] : body;
    }

    @Override
    public String getHeader(String name) {
        return headers.get(name);
    }

    @Override
    public void setHeader(String name, String value) {
        headers.put(name, value);
    }

    @Override
    public Map<String, String> getHeaders() {
        return headers;
    }

    @Override
    public String getContentType() {
        return contentType;
    }

    @Override
    public void setContentType(String contentType) {
        this.contentType = contentType;
    }

    @Override
    public int getStatusCode() {
        return statusCode;
    }

    @Override
    public void setStatusCode(int statusCode) {
        this.statusCode = statusCode;
    }
}
