package com.openfaas.model;

import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.TreeMap;

public class Request implements IRequest {
    private final byte[] body;
    private final String method;
    private final Map<String, String> headers = new TreeMap<>(String.CASE_INSENSITIVE_ORDER);
    private final String queryRaw;
    private final String pathRaw;

    public Request(byte[] body, Map<String, String> headers, String method, String queryRaw, String pathRaw) {
        this.body = body;
        this.headers.putAll(headers);
        this.method = method;
        this.queryRaw = queryRaw == null ? "" : queryRaw;
        this.pathRaw = pathRaw == null ? "" : pathRaw;
    }

    @Override
    public String getBody() {
        return new String(body, StandardCharsets.UTF_8);
    }

    @Override
    public byte[] getBodyRaw() {
        return body;
    }

    @Override
    public String getMethod() {
        return method;
    }

    @Override
    public String getHeader(String name) {
        return headers.get(name);
    }

    @Override
    public Map<String, String> getHeaders() {
        return Collections.unmodifiableMap(headers);
    }

    @Override
    public String getQueryRaw() {
        return queryRaw;
    }

    @Override
    public Map<String, String> getQuery() {
        Map<String, String> pairs = new LinkedHashMap<>();
        for (String pair : queryRaw.split("&")) {
            if (pair.isEmpty()) continue;
            String[] parts = pair.split("=", 2);
            pairs.put(decode(parts[0]), parts.length > 1 ? decode(parts[1]) : "");
        }
        return pairs;
    }

    @Override
    public String getPathRaw() {
        return pathRaw;
    }

    @Override
    public Map<String, String> getPath() {
        Map<String, String> pairs = new LinkedHashMap<>();
        String[] parts = pathRaw.replaceFirst("^/", "").split("/");
        for (int at = 0; at + 1 < parts.length; at += 2) pairs.put(parts[at], parts[at + 1]);
        return pairs;
    }

    private static String decode(String text) {
        try {
            return URLDecoder.decode(text, StandardCharsets.UTF_8);
        } catch (IllegalArgumentException malformed) {
            return text;
        }
    }
}
